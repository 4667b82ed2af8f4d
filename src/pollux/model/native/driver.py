"""The loop over a fleet: whole groups of lanes in place, the last twins through a copy that fills a whole group.

There is no scalar remainder, so a twin's bits do not depend on where it stands or on how many there are. Lanes
beyond the last twin repeat it, so that no loop runs longer for them.

    void <symbol>(ptr arrays, i64 n, i64 begin, i64 end, ptr work)
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Array:
    """One argument or output of one twin: number of elements, bytes of each, whether it carries the fleet axis."""

    elements: int
    size: int
    fleet: bool
    output: bool


def scratch(arrays: tuple[Array, ...], lanes: int) -> int:
    """Bytes of the copies."""
    return sum(-(-a.elements * a.size * lanes // 64) * 64 for a in arrays if a.fleet)


def text(symbol: str, group: str, arrays: tuple[Array, ...], lanes: int, work: int) -> str:
    """LLVM assembly of the loop around `group`, whose own workspace is the first `work` bytes."""
    n = len(arrays)

    def table(name: str, values: list[int]) -> str:
        return f"@{symbol}_{name} = internal constant [{n} x i64] [{', '.join(f'i64 {v}' for v in values)}]"

    tables = "\n".join((
        table("elements", [a.elements for a in arrays]),
        table("size", [a.size for a in arrays]),
        table("fleet", [int(a.fleet) for a in arrays]),
        table("output", [int(a.output) for a in arrays]),
    ))  # fmt: skip
    return f"""{tables}
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
define void @{symbol}(ptr %arrays, i64 %n, i64 %begin, i64 %end, ptr %work) #0 {{
entry:
  %copies = alloca ptr, i64 {n}, align 16
  br label %head
head:
  %at = phi i64 [ %begin, %entry ], [ %next, %whole ]
  %next = add i64 %at, {lanes}
  %fits = icmp sle i64 %next, %end
  br i1 %fits, label %whole, label %rest
whole:
  call void @{group}(ptr %arrays, i64 %n, i64 %at, ptr %work)
  br label %head
rest:
  %left = sub i64 %end, %at
  %some = icmp sgt i64 %left, 0
  br i1 %some, label %fill, label %done
fill:
  %room = getelementptr i8, ptr %work, i64 {work}
  call void @{symbol}_copy(ptr %arrays, ptr %copies, i64 %n, i64 %at, i64 %left, ptr %room, i1 0)
  call void @{group}(ptr %copies, i64 {lanes}, i64 0, ptr %work)
  call void @{symbol}_copy(ptr %arrays, ptr %copies, i64 %n, i64 %at, i64 %left, ptr %room, i1 1)
  br label %done
done:
  ret void
}}
define internal void @{symbol}_copy(ptr %arrays, ptr %copies, i64 %n, i64 %at, i64 %left, ptr %room, i1 %back) #0 {{
entry:
  br label %head
head:
  %k = phi i64 [ 0, %entry ], [ %k1, %after ]
  %free = phi ptr [ %room, %entry ], [ %free1, %after ]
  %more = icmp ult i64 %k, {n}
  br i1 %more, label %one, label %done
one:
  %pe = getelementptr i64, ptr @{symbol}_elements, i64 %k
  %elements = load i64, ptr %pe
  %ps = getelementptr i64, ptr @{symbol}_size, i64 %k
  %size = load i64, ptr %ps
  %pf = getelementptr i64, ptr @{symbol}_fleet, i64 %k
  %f = load i64, ptr %pf
  %fleet = icmp ne i64 %f, 0
  %po = getelementptr i64, ptr @{symbol}_output, i64 %k
  %o = load i64, ptr %po
  %output = icmp ne i64 %o, 0
  %pa = getelementptr ptr, ptr %arrays, i64 %k
  %array = load ptr, ptr %pa
  %row = mul i64 %size, {lanes}
  %bytes = mul i64 %row, %elements
  %up = add i64 %bytes, 63
  %lines = and i64 %up, -64
  %used = select i1 %fleet, i64 %lines, i64 0
  %free1 = getelementptr i8, ptr %free, i64 %used
  %home = select i1 %fleet, ptr %free, ptr %array
  %pc = getelementptr ptr, ptr %copies, i64 %k
  store ptr %home, ptr %pc
  %moves = icmp eq i1 %output, %back
  %copied = and i1 %moves, %fleet
  %length = mul i64 %left, %size
  %before = mul i64 %at, %size
  %stride = mul i64 %n, %size
  %count = select i1 %copied, i64 %elements, i64 0
  br label %rows
rows:
  %e = phi i64 [ 0, %one ], [ %e1, %filled ]
  %again = icmp ult i64 %e, %count
  br i1 %again, label %line, label %after
line:
  %skip = mul i64 %e, %stride
  %place = add i64 %skip, %before
  %far = getelementptr i8, ptr %array, i64 %place
  %down = mul i64 %e, %row
  %near = getelementptr i8, ptr %free, i64 %down
  %to = select i1 %back, ptr %far, ptr %near
  %from = select i1 %back, ptr %near, ptr %far
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 %length, i1 false)
  %behind = sub i64 %length, %size
  %last = getelementptr i8, ptr %near, i64 %behind
  %first = select i1 %back, i64 %row, i64 %length
  br label %repeat
repeat:
  %b = phi i64 [ %first, %line ], [ %b1, %copy ]
  %within = icmp ult i64 %b, %row
  br i1 %within, label %copy, label %filled
copy:
  %pad = getelementptr i8, ptr %near, i64 %b
  call void @llvm.memcpy.p0.p0.i64(ptr %pad, ptr %last, i64 %size, i1 false)
  %b1 = add i64 %b, %size
  br label %repeat
filled:
  %e1 = add i64 %e, 1
  br label %rows
after:
  %k1 = add i64 %k, 1
  br label %head
done:
  ret void
}}
"""
