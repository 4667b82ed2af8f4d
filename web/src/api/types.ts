// The JSON shapes that server and dashboard agree on. Times are event time, seconds since 1970 UTC.

export type Status = "good" | "watch" | "act";
export type Health = "good" | "missing" | "stale" | "gated" | "suspect";
export type Level = 0 | 1 | 2 | 3 | 4;
export type Num = number | null;

export interface Figure {
  label: string;
  value: Num;
  unit: string;
}

export interface TwinCard {
  name: string;
  title: string;
  kind: string;
  status: Status;
  health: number;
  t: number;
  data_age: number;
  alarms: number;
  level: Level;
  figures: Figure[];
}

/** Some rows of the fleet. `matched` rows fit the question, `total` twins are there. */
export interface FleetOut {
  twins: TwinCard[];
  offset: number;
  matched: number;
  total: number;
  counts: Record<Status, number>;
  /** Labels of the figures that most twins share: these get a column each. */
  figures: string[];
}

export interface Signal {
  name: string;
  label: string;
  unit: string;
  low: Num;
  high: Num;
  noise: Num;
  group: string;
}

export interface FaultKind {
  kind: string;
  where: string[];
  size: number;
  unit: string;
}

export interface Describe {
  name: string;
  title: string;
  doc: string;
  states: Signal[];
  inputs: Signal[];
  sensors: Signal[];
  parameters: Signal[];
  margins: { name: string; label: string; unit?: string }[];
  tracked: string[];
  schematic: string | null;
  site: { faults: FaultKind[] } | null;
}

export interface SensorNow {
  value: Num;
  predicted: Num;
  low: Num;
  high: Num;
  health: Health;
  age: number;
}

export type AlarmState = "active" | "acknowledged" | "shelved" | "cleared";

export interface Alarm {
  id: string;
  t: number;
  cause: string;
  subject: string;
  summary: string;
  priority: 1 | 2 | 3;
  evidence: Record<string, number>;
  state: AlarmState;
  by?: string | null;
  note?: string | null;
}

export type ProposalStatus = "pending" | "approved" | "rejected" | "expired" | "executed" | "refused";

export interface Proposal {
  id: string;
  twin: string;
  t: number;
  proposer: string;
  reason: string;
  values: Record<string, number>;
  expires: number;
  status: ProposalStatus;
  rule?: string | null;
  note?: string | null;
  by?: string | null;
  /** Level 3: when it acts unless somebody rejects it. */
  auto_at?: number | null;
  expected: { label: string; unit: string; acting: Num; not_acting: Num }[];
  risk: { limit: string; acting: Num; not_acting: Num }[];
  hash: string;
}

export interface Frame {
  type: "frame";
  twin: string;
  t: number;
  wall: number;
  status: Status;
  level: Level;
  stopped: boolean;
  stale: boolean;
  data_age: number;
  sensors: Record<string, SensorNow>;
  states: Record<string, { mean: Num; low: Num; high: Num }>;
  inputs: Record<string, { value: Num }>;
  margins: Record<string, Num>;
  nis: Num;
  alarms: Alarm[];
  proposals: Proposal[];
}

/** What was known at a past moment: the frame of then and what it rests on. `at` and `received` are wall time. */
export interface RecallOut {
  twin: string;
  at: number;
  t: number;
  digest: string;
  rows: number;
  received: Num;
  folded: number;
  /** Why the last bits may differ; empty when nothing says so. */
  note: string;
  frame: Frame;
}

export type Verdict = "consistent" | "overconfident" | "cautious" | "unknown";

/** What the last innovations say about one sensor; `bias` and `spread` in predicted standard deviations. */
export interface SensorTrust {
  /** 0..1: share of its last readings that passed the gate; 0 while silent or suspect. */
  health: number;
  readings: number;
  refused: Num;
  coverage: Num;
  bias: Num;
  spread: Num;
  memory: Num;
  remarks: string[];
}

/** Each figure with the interval in which it lies when the stated uncertainty is right. */
export interface Trust {
  start: Num;
  steps: number;
  nis: {
    ratio: Num; low: Num; high: Num; readings: number; verdict: Verdict;
    /** The same by stretch of the window, oldest first. */
    course: { t: number[]; ratio: Num[]; low: Num[]; high: Num[] };
  };
  coverage: { share: Num; low: number; high: number; readings: number };
  sensors: Record<string, SensorTrust>;
}

/** One source: seconds; `clock_ahead` is null while unknown, and always where the plant has its own time. */
export interface SourceNow {
  offset: number;
  lag: number;
  newest: Num;
  behind: Num;
  idle: boolean;
  clock_ahead: Num;
  late: number;
  duplicate: number;
  future: number;
}

export interface TimeNow {
  newest?: Num;
  settled?: Num;
  present?: Num;
  open_ticks?: number;
  sources?: Record<string, SourceNow>;
}

export interface Diagnosis {
  findings: Alarm[];
  nis: Num;
  nis_dof: number;
  sensors: Record<string, { health: Health; age: Num; nis: Num }>;
  trust: Trust;
  /** How far the twin's time has come, and the clock and delay of every source. */
  time: TimeNow;
  /** Readings of this twin that were stored and not fused since the start, by reason. */
  unfused: Record<string, number>;
  /** Messages in the quarantine since the start, by reason, of all twins. */
  refused: Record<string, number>;
}

export interface HistoryColumns {
  measured?: Num[];
  mean?: Num[];
  low?: Num[];
  high?: Num[];
}

export interface HistoryOut {
  t: number[];
  signals: Record<string, HistoryColumns>;
}

/** Quantiles: `sensors[name][q][k]` is level `levels[q]` at `times[k]`. */
export interface ForecastOut {
  type?: "forecast";
  twin?: string;
  t0: number;
  times: number[];
  levels: number[];
  states: Record<string, Num[][]>;
  sensors: Record<string, Num[][]>;
  margins: Record<string, Num[][]>;
  plan: Record<string, Num[]>;
  crossings: { margin: string; probability: number; t_median: Num; t_early: Num }[];
}

export interface Explanation {
  id: string;
  text: string;
  facts: Figure[];
  chain: { id: string; kind: string; t: number }[];
}

export interface AskOut {
  answer: string;
  used: { capability: string; params: Record<string, unknown> }[];
  facts: Figure[];
}

export interface AuditOut {
  records: Record<string, unknown>[];
  verified: boolean;
}

export type LiveMessage =
  | { type: "hello"; role?: string; version?: string }
  | Frame
  | (ForecastOut & { type: "forecast" })
  | { type: "fleet"; total: number; counts: Record<Status, number> };
