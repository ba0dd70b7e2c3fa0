"use strict";
// Charts and keys of the pages of ad performance. Every page can be read without this file too.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const DAY = 86_400;

  // numbers ----------------------------------------------------------------------------------
  const number = (digits) => new Intl.NumberFormat("en-US", {
    minimumFractionDigits: digits, maximumFractionDigits: digits,
  });
  const formats = { money: number(0), cents: number(2), ratio: number(2), count: number(0) };

  function written(value, chart) {
    if (value === null || value === undefined) return "—";
    const isSmall = chart.unit === "money" && Math.abs(value) < 1000;
    const text = formats[isSmall ? "cents" : chart.unit].format(value);
    return chart.currency ? `${text} ${chart.currency}` : text;
  }

  // charts -----------------------------------------------------------------------------------
  const colours = (root) => {
    const style = getComputedStyle(root);
    return (name) => style.getPropertyValue(`--${name}`).trim();
  };

  // Days that may still change: hatched, and said.
  function hatched(chart, colour) {
    return (u) => {
      if (!chart.openFrom) return;
      const { ctx, bbox } = u;
      const from = Date.parse(chart.openFrom) / 1000 - DAY / 2;
      const left = Math.max(u.valToPos(from, "x", true), bbox.left);
      const right = bbox.left + bbox.width;
      if (left >= right) return;
      const step = 7 * devicePixelRatio;
      ctx.save();
      ctx.beginPath();
      ctx.rect(left, bbox.top, right - left, bbox.height);
      ctx.clip();
      ctx.strokeStyle = colour("hatch");
      ctx.lineWidth = devicePixelRatio;
      ctx.beginPath();
      for (let x = left - bbox.height; x < right; x += step) {
        ctx.moveTo(x, bbox.top + bbox.height);
        ctx.lineTo(x + bbox.height, bbox.top);
      }
      ctx.stroke();
      ctx.restore();
      ctx.save();
      ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
      const text = "may still change";
      const start = Math.min(left, right - ctx.measureText(text).width);
      ctx.fillStyle = colour("quiet");
      ctx.textAlign = "left";
      ctx.textBaseline = "bottom";
      ctx.fillText(text, Math.max(start, bbox.left), bbox.top - 3 * devicePixelRatio);
      ctx.restore();
    };
  }

  // What happened on a day: a line with its words.
  function events(chart, colour) {
    return (u) => {
      const { ctx, bbox } = u;
      ctx.save();
      ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
      ctx.textAlign = "left";
      ctx.setLineDash([4, 4]);
      for (const [day, text] of Object.entries(chart.events)) {
        const x = u.valToPos(Date.parse(day) / 1000, "x", true);
        ctx.strokeStyle = ctx.fillStyle = colour("quiet");
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.stroke();
        ctx.fillText(text, x + 4, bbox.top + bbox.height - 6);
      }
      ctx.restore();
    };
  }

  // Each line's name at its end; names that would overlap are moved apart.
  function named(chart, colour) {
    return (u) => {
      const { ctx, bbox } = u;
      const size = 12 * devicePixelRatio;
      const places = chart.lines.map((line) => {
        const last = line.values.findLastIndex((value) => value !== null);
        return { line, y: last < 0 ? null : u.valToPos(line.values[last], "y", true) };
      }).filter((place) => place.y !== null).sort((a, b) => a.y - b.y);
      for (let n = 1; n < places.length; n += 1) {
        places[n].y = Math.max(places[n].y, places[n - 1].y + size * 1.2);
      }
      const over = places.length
        ? places[places.length - 1].y - (bbox.top + bbox.height) : 0;
      ctx.save();
      ctx.font = `600 ${size}px system-ui, sans-serif`;
      ctx.textAlign = "left";
      ctx.textBaseline = "middle";
      for (const { line, y } of places) {
        ctx.fillStyle = colour(line.colour);
        ctx.fillText(line.label, bbox.left + bbox.width + 6 * devicePixelRatio,
          y - Math.max(over, 0));
      }
      ctx.restore();
    };
  }

  function tooltip(plot, chart) {
    const tip = document.createElement("div");
    tip.className = "tip";
    tip.hidden = true;
    plot.append(tip);
    return (u) => {
      const n = u.cursor.idx;
      tip.hidden = n === null || n === undefined;
      if (tip.hidden) return;
      const day = chart.days[n];
      const head = document.createElement("b");
      head.textContent = day + (chart.openFrom && day >= chart.openFrom ? ", may still change" : "");
      const rows = chart.lines.map((line) => {
        const row = document.createElement("span");
        const name = document.createElement("i");
        name.className = line.colour;
        name.textContent = line.label;
        const value = document.createElement("i");
        value.textContent = written(line.values[n], chart);
        row.append(name, value);
        return row;
      });
      tip.replaceChildren(head, ...rows);
      const x = u.valToPos(u.data[0][n], "x") + u.over.offsetLeft;
      const isRight = x + tip.offsetWidth + 20 > plot.clientWidth;
      tip.style.left = `${Math.max(isRight ? x - tip.offsetWidth - 12 : x + 12, 0)}px`;
    };
  }

  function draw(figure) {
    const plot = figure.querySelector(".plot");
    const chart = JSON.parse(figure.querySelector("script").textContent);
    plot.replaceChildren();
    plot.hidden = false;
    const colour = colours(figure);
    const isNarrow = plot.clientWidth < 520;
    const longest = Math.max(...chart.lines.map((line) => line.label.length));
    const axis = { stroke: colour("quiet"), font: "12px system-ui, sans-serif",
      grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), width: 1 } };
    const compact = new Intl.NumberFormat("en-US", { notation: "compact" });
    const u = new uPlot({
      width: plot.clientWidth,
      height: isNarrow ? 220 : 280,
      padding: [chart.openFrom ? 22 : 12, Math.min(longest * 7 + 16, 130), 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
      scales: {
        x: { time: true },
        y: { range: (_, low, high) => {
          const least = Math.min(low ?? 0, 0);
          const most = Math.max(high ?? 1, 0) || 1;
          return [least < 0 ? least * 1.05 : 0, most * 1.05];
        } },
      },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      axes: [
        { ...axis, space: isNarrow ? 70 : 60,
          incrs: [1, 2, 3, 7, 14, 28, 56, 91, 182, 365, 730].map((days) => days * DAY),
          values: [[DAY * 365, "{YYYY}", null, null, null, null, null, null, 1],
            [DAY * 28, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
            [DAY, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1]] },
        { ...axis, size: 56,
          values: (_, splits) => splits.map((value) => chart.unit === "ratio"
            ? formats.ratio.format(value) : compact.format(value)) },
      ],
      series: [{}, ...chart.lines.map((line) => ({
        label: line.label,
        stroke: colour(line.colour),
        width: line.dashed ? 1.5 : 2,
        dash: line.dashed ? [5, 5] : [],
        spanGaps: false,
        points: { show: chart.days.length < 2 },
      }))],
      hooks: {
        drawClear: [hatched(chart, colour)],
        draw: [events(chart, colour), named(chart, colour)],
        setCursor: [tooltip(plot, chart)],
      },
    }, [chart.days.map((day) => Date.parse(day) / 1000), ...chart.lines.map((l) => l.values)], plot);
    figure.classList.add("drawn");
    reachable(figure, plot, chart, u);
    return u;
  }

  // By touch and by keys as by pointer; what is reached is read out.
  function reachable(figure, plot, chart, u) {
    const said = document.createElement("p");
    said.className = "unseen";
    said.setAttribute("aria-live", "polite");
    plot.append(said);
    plot.tabIndex = 0;
    plot.setAttribute("role", "group");
    const question = figure.querySelector("figcaption").textContent;
    plot.setAttribute("aria-label", `${question} A chart; the arrow keys go from day to day.`);
    let reached = chart.days.length;
    const go = (n) => {
      const at = Math.min(Math.max(n, 0), chart.days.length - 1);
      reached = at;
      u.setCursor({ left: u.valToPos(u.data[0][at], "x"), top: 0 });
      const values = chart.lines.map((l) => `${l.label} ${written(l.values[at], chart)}`);
      said.textContent = `${chart.days[at]}: ${values.join(", ")}`;
    };
    plot.onkeydown = (event) => {
      const now = u.cursor.idx ?? reached; // at an edge there may be none under the cursor
      const to = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0,
        End: chart.days.length - 1 }[event.key];
      if (event.key === "Escape") u.setCursor({ left: -10, top: -10 });
      if (to === undefined) return;
      event.preventDefault();
      go(to);
    };
    const touch = (event) => {
      if (event.pointerType === "mouse") return;
      const left = event.clientX - u.over.getBoundingClientRect().left;
      u.setCursor({ left, top: 0 });
    };
    u.over.onpointerdown = u.over.onpointermove = touch;
  }

  const charts = new Map();
  function drawAll() {
    for (const figure of all("figure[data-chart]")) {
      charts.get(figure)?.destroy();
      charts.set(figure, draw(figure));
    }
  }
  if (typeof uPlot !== "undefined") {
    drawAll();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
    let width = innerWidth;
    addEventListener("resize", () => {
      if (innerWidth === width) return;
      width = innerWidth;
      requestAnimationFrame(drawAll);
    });
  }

  // forms ------------------------------------------------------------------------------------
  for (const select of all("select[data-go]")) {
    select.addEventListener("change", () => select.form.requestSubmit());
    const button = select.form.querySelector("button");
    if (button) button.hidden = true;
  }
  addEventListener("click", (event) => {
    for (const menu of all("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });

  // keys -------------------------------------------------------------------------------------
  function move(step) {
    const rows = all("a.row");
    const now = rows.indexOf(document.activeElement);
    rows[now < 0 ? 0 : Math.min(Math.max(now + step, 0), rows.length - 1)]?.focus();
  }
  function help() {
    const keys = document.getElementById("keys");
    keys.open = !keys.open;
    if (keys.open) keys.scrollIntoView({ block: "nearest" });
  }
  const follow = (link) => { if (link) location.assign(link.href); };
  let isGoing = false;
  const actions = {
    j: () => move(1),
    k: () => move(-1),
    "[": () => follow(document.querySelector("a[rel=prev]")),
    "]": () => follow(document.querySelector("a[rel=next]")),
    "/": () => document.getElementById("q")?.focus(),
    "?": help,
    g: () => { isGoing = true; },
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const field = event.target.closest("input:not([type=radio]), textarea, select");
    if (event.key === "Escape") {
      field?.blur();
      for (const menu of all("details.menu[open]")) {
        menu.open = false;
        menu.querySelector("summary").focus();
      }
    }
    if (field) return;
    if (isGoing && /^[1-9]$/.test(event.key)) follow(all("nav > a")[event.key - 1]);
    isGoing = false;
    if (!Object.hasOwn(actions, event.key)) return;
    event.preventDefault();
    actions[event.key]();
  });
})();
