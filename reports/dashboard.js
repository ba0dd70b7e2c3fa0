// Draws the four charts of the dashboard from the data in the page, for the chosen days.
(function () {
  const data = JSON.parse(document.getElementById("dashboard-data").textContent);
  const DAY = 86400000;
  const [BLUE, ORANGE, INK, LINE] = ["#1f5fbf", "#d9730d", "#1b2430", "#e4e8ee"].map(dmpColours);
  const FONT = getComputedStyle(document.body).fontFamily;
  const config = { displayModeBar: false, responsive: true };
  const byId = (id) => document.getElementById(id);
  const number = (n) => n.toLocaleString("en-US");
  const plural = (n, one) => `${number(n)} ${one}${n === 1 ? "" : "s"}`;

  if (!data.days) return;
  const first = Date.parse(data.first + "T00:00:00Z");
  const iso = (day) => new Date(first + day * DAY).toISOString().slice(0, 10);
  const last = data.days - 1;

  function ordinal(n) {
    const tens = n % 100, ones = n % 10;
    if (tens > 10 && tens < 14) return n + "th";
    return n + (["th", "st", "nd", "rd"][ones] || "th");
  }

  function layout(extra) {
    const axis = { gridcolor: LINE, linecolor: LINE, zerolinecolor: LINE, automargin: true, fixedrange: true };
    return {
      font: { family: FONT, size: 12, color: INK }, margin: { l: 4, r: 10, t: 8, b: 4 }, bargap: 0.22,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false,
      hoverlabel: { bgcolor: getComputedStyle(document.documentElement).getPropertyValue("--paper"), bordercolor: LINE, font: { color: INK } },
      xaxis: { ...axis, ...(extra.xaxis || {}) }, yaxis: { ...axis, ...(extra.yaxis || {}) },
    };
  }

  // Days are drawn as they are up to 100 of them, then as weeks, above three years as months.
  function buckets(values, from, to) {
    const days = to - from + 1;
    const kind = days <= 100 ? "day" : days <= 1100 ? "week" : "month";
    const sums = new Map();
    for (let day = from; day <= to; day++) {
      let start = iso(day);
      if (kind === "month") start = start.slice(0, 7) + "-01";
      if (kind === "week") {
        const monday = (new Date(first + day * DAY).getUTCDay() + 6) % 7;
        start = iso(day - monday);
      }
      sums.set(start, (sums.get(start) || 0) + values[day]);
    }
    return { kind, x: [...sums.keys()], y: [...sums.values()] };
  }

  // Few bars are named one by one: the library would divide a single day into hours.
  function few(x) {
    if (x.length > 7) return {};
    const edge = (day, hours) => new Date(Date.parse(day) + hours * DAY / 24).toISOString().slice(0, 19);
    const kept = x.length === 1 ? 36 : 14;
    return {
      tickmode: "array", tickvals: x, ticktext: x.map(named),
      range: [edge(x[0], -kept), edge(x[x.length - 1], kept)],
    };
  }
  function named(day) {
    return new Date(day).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
  }

  function timeline(id, values, from, to, color, what) {
    const b = buckets(values, from, to);
    const total = b.y.reduce((a, n) => a + n, 0);
    byId(id + "-note").textContent = total
      ? `${plural(total, what)}, per ${b.kind}` + (b.kind === "day" ? "" : "; the first and last may be partial")
      : `No ${what}s in these days.`;
    Plotly.react(id, [{
      type: "bar", x: b.x, y: b.y, marker: { color },
      hovertemplate: `${b.kind === "day" ? "" : b.kind + " of "}%{x|%d %b %Y}: <b>%{y:,}</b><extra></extra>`,
    }], layout({
      xaxis: { type: "date", gridcolor: "rgba(0,0,0,0)", ...few(b.x) },
      yaxis: { rangemode: "tozero", tickformat: ",~r", nticks: 5 },
    }), config);
  }

  function counts(who, from, to) {
    const sums = new Array(who.labels.length).fill(0);
    for (let i = 0; i < who.day.length; i++) {
      if (who.day[i] >= from && who.day[i] <= to) sums[who.index[i]] += who.count[i];
    }
    return sums.map((n, i) => [who.labels[i], n]).filter((pair) => pair[1] > 0).sort((a, b) => b[1] - a[1]);
  }

  // `sizes`: how many have each number of usages, where not all of them are in the page.
  function ties(ranked, shown, what, sizes) {
    const said = [];
    for (let i = 0; i < shown; ) {
      let end = i;
      while (end < ranked.length && ranked[end][1] === ranked[i][1]) end++;
      const size = sizes ? sizes[ranked[i][1]] : end - i;
      if (size > 1) {
        const cut = i + size > shown ? ` (${number(shown - i)} of them shown)` : "";
        said.push(`${plural(size, what)} tie on ${ordinal(i + 1)} place${cut}`);
      }
      i = end;
    }
    return said.length ? said.join("; ") + "." : "No ties.";
  }

  function top(id, who, from, to, color, what) {
    const ranked = counts(who, from, to);
    const shown = ranked.slice(0, data.top);
    const all = from === 0 && to === last;
    const among = who.complete || all ? "" : ` Among the ${number(who.labels.length)} most active of ${number(who.of)}.`;
    byId(id + "-note").textContent = ranked.length
      ? ties(ranked, shown.length, what, all ? who.sizes : null) + among
      : `No ${what} redeemed a code in these days.`;
    const places = shown.map((_, i) => i);
    Plotly.react(id, [{
      type: "bar", orientation: "h", y: places, x: shown.map((p) => p[1]), marker: { color },
      text: shown.map((p) => number(p[1])), textposition: "outside", cliponaxis: false,
      customdata: shown.map((p) => p[0]), hovertemplate: `${what} %{customdata}: <b>%{x:,}</b><extra></extra>`,
    }], layout({
      xaxis: { rangemode: "tozero", visible: false, range: [0, (shown.length ? shown[0][1] : 1) * 1.08] },
      yaxis: { tickvals: places, ticktext: shown.map((p) => p[0] + "  "), range: [data.top - 0.5, -0.5], gridcolor: "rgba(0,0,0,0)", zeroline: false },
    }), config);
    return ranked.length;
  }

  function figure(name, value) {
    const tile = document.querySelector(`[data-figure="${name}"]`);
    if (tile) tile.textContent = number(value);
  }

  const sum = (values, from, to) => values.slice(from, to + 1).reduce((a, n) => a + n, 0);
  function draw(from, to) {
    timeline("usage-timeline", data.usages, from, to, BLUE, "usage");
    timeline("registration-timeline", data.registrations, from, to, ORANGE, "registration");
    const users = top("top-users", data.users, from, to, BLUE, "user");
    const codes = top("top-codes", data.codes, from, to, ORANGE, "code");
    figure("registrations", sum(data.registrations, from, to));
    figure("usages", sum(data.usages, from, to));
    if (data.users.complete) figure("active-users", users);
    if (data.codes.complete) figure("codes", codes);
  }

  dmpDays({ first: data.first, days: data.days, start: data.start, end: data.end, draw });
})();
