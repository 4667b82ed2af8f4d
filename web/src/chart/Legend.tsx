// What the lines mean; the same on every chart.
export function Legend({ compare, past }: { compare?: boolean; past?: boolean }) {
  return (
    <ul class="legend" aria-label="Legend">
      {compare ? (
        <>
          <li><svg width="26" height="12" aria-hidden="true"><rect class="k-band" width="26" height="12" /><path class="k-estimate" d="M0 6h26" /></svg>acting</li>
          <li><svg width="26" height="12" aria-hidden="true"><rect class="k-fan" width="26" height="12" /><path class="k-forecast" d="M0 6h26" /></svg>not acting, 95 %</li>
        </>
      ) : (
        <>
          <li><svg width="14" height="12" aria-hidden="true"><circle class="k-dot" cx="3" cy="8" r="2" /><circle class="k-dot" cx="10" cy="4" r="2" /></svg>measured</li>
          <li><svg width="26" height="12" aria-hidden="true"><rect class="k-band" width="26" height="12" /><path class="k-estimate" d="M0 6h26" /></svg>estimate, 95 %</li>
          {past ? <li><svg width="14" height="12" aria-hidden="true"><path class="k-then" d="M7 2l4 4-4 4-4-4Z" /></svg>believed then, 95 %; the lines are the record as kept now</li> : <li><svg width="26" height="12" aria-hidden="true"><rect class="k-fan" width="26" height="12" /><rect class="k-fan50" y="3" width="26" height="6" /><path class="k-forecast" d="M0 6h26" /></svg>forecast, 50 and 95 %</li>}
        </>
      )}
      <li><svg width="26" height="12" aria-hidden="true"><path class="k-limit" d="M0 6h26" /></svg>limit</li>
    </ul>
  );
}
