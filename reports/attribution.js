// Sums cost and credit of the chosen days by channel: tiles, the first chart, its table.
(function () {
  const data = JSON.parse(document.getElementById("attribution-data").textContent);
  const byId = (id) => document.getElementById(id);
  const PLACES = 2, NAMES = ["cost", "conversions", "revenue", "cleanConversions", "cleanRevenue"];
  const over = (above, below) => (below > 0 ? above / below : null);
  const said = (value, places) => (value === null ? "—" : value.toLocaleString("en-US", {
    minimumFractionDigits: places, maximumFractionDigits: places,
  }));

  // The channels with cost or credit, those that earned most first. All days hold what lies outside, too.
  function summed(from, to, isAll) {
    const channels = data.channels.map((name, at) => ({ name, label: data.labels[at], cost: 0, conversions: 0, revenue: 0, cleanConversions: 0, cleanRevenue: 0 }));
    for (let i = 0; i < data.day.length; i++) {
      if (!isAll && (data.day[i] < from || data.day[i] > to)) continue;
      for (const name of NAMES) channels[data.channel[i]][name] += data[name][i];
    }
    return channels.filter((c) => c.cost > 0 || c.conversions > 0)
      .sort((a, b) => b.revenue - a.revenue || (a.name < b.name ? -1 : 1));
  }

  function tile(name, value, places, note) {
    const box = document.querySelector(`.tile[data-name="${name}"]`);
    box.querySelector(".tile-value").textContent = said(value, places);
    if (note !== undefined) box.querySelector(".tile-note").textContent = note;
  }

  function tiles(channels) {
    const sum = (name, of) => of.reduce((total, c) => total + c[name], 0);
    const paid = channels.filter((c) => c.cost > 0), cost = sum("cost", channels);
    tile("paid_roas", over(sum("revenue", paid), cost), PLACES);
    tile("roas", over(sum("revenue", channels), cost), PLACES);
    tile("paid_cost_per_order", over(cost, sum("conversions", paid)), PLACES);
    tile("cost_per_order", cost ? over(cost, sum("conversions", channels)) : null, PLACES);
    tile("cost", cost || null, 0, cost ? "" : "no cost was received");
    tile("attributed_revenue", sum("revenue", channels), 0);
    tile("attributed_conversions", sum("conversions", channels), 0);
  }

  function table(channels) {
    const box = byId("channels-data");
    if (!box) return;
    const heads = [...box.querySelectorAll("thead th")].map((head) => head.textContent);
    const values = (c) => [
      c.cost || null, c.conversions, c.revenue,
      c.cost ? over(c.cost, c.conversions) : null, over(c.revenue, c.cost),
      ...(data.adjusted ? [c.cost ? over(c.cost, c.cleanConversions) : null, over(c.cleanRevenue, c.cost)] : []),
    ];
    const body = document.createElement("tbody");
    for (const channel of channels) {
      const row = body.insertRow();
      [channel.name, ...values(channel).map((value) => said(value, PLACES))].forEach((text, at) => {
        const cell = row.insertCell();
        cell.className = at ? "number" : "words";
        cell.dataset.label = heads[at];
        cell.textContent = text;
      });
    }
    box.querySelector("tbody").replaceWith(body);
    const link = document.querySelector('a[download="channels.csv"]');
    if (!link) return;
    const lines = [heads, ...channels.map((c) => [c.name, ...values(c).map((value) => (value === null ? "" : value.toFixed(4)))])];
    const text = lines.map((line) => line.map(cell).join(",")).join("\r\n") + "\r\n";
    link.href = "data:text/csv;charset=utf-8," + encodeURIComponent("\ufeff" + text);
  }
  // A cell of CSV; what a spreadsheet would take for a formula is text.
  function cell(value) {
    const text = /^\s*[=+\-@＝＋－＠]/.test(value) && !/^-\d+(\.\d+)?$/.test(value) ? `'${value}` : value;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  function chart(channels) {
    const box = document.querySelector("#fig-channels .chart");
    if (!box) return;
    const shown = channels.slice(0, data.most).reverse();
    const names = shown.map((c) => c.label);
    Plotly.update(box, { y: [names, names], x: [shown.map((c) => c.cost), shown.map((c) => c.revenue)] }, {}, [0, 1]);
    Plotly.relayout(box, { "yaxis.range": [-0.5, shown.length - 0.5] });
  }

  const all = [...document.querySelectorAll(".of-all-days")];
  dmpDays({
    first: data.first, days: data.days, start: "", end: "",
    draw(from, to, isAll) {
      const channels = summed(from, to, isAll);
      const open = data.open === null ? 0 : Math.max(0, to - Math.max(from, data.open) + 1);
      byId("filter-range").textContent += open ? ` · ${open.toLocaleString("en-US")} of them open` : "";
      tiles(channels);
      table(channels);
      chart(channels);
      const over_time = document.querySelector("#fig-roas .chart");
      const iso = (day) => new Date(Date.parse(data.first + "T00:00:00Z") + day * 864e5).toISOString().slice(0, 10);
      if (over_time) Plotly.relayout(over_time, isAll || from === to ? { "xaxis.autorange": true } : { "xaxis.range": [iso(from), iso(to)] });
      for (const note of all) note.hidden = isAll;
    },
  });
})();
