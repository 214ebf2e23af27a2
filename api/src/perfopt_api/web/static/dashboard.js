"use strict";
// Times in the reader's zone, copying, selecting, and plots: pages work without any of it.
(() => {
  const ZONE = "perfopt.utc";
  const inUtc = () => localStorage.getItem(ZONE) === "yes";

  // Each has the other zone's time as its title.
  function showTimes(root) {
    for (const one of root.querySelectorAll("time[datetime]")) {
      one.dataset.utc ||= one.textContent;
      const timeStyle = "seconds" in one.dataset ? "medium" : "short";
      const local = new Date(one.dateTime).toLocaleString([], { dateStyle: "medium", timeStyle });
      [one.textContent, one.title] = inUtc() ? [one.dataset.utc, local] : [local, one.dataset.utc];
    }
  }

  function offerZones() {
    const button = document.getElementById("zone");
    const name = Intl.DateTimeFormat().resolvedOptions().timeZone;
    const label = () => {
      button.previousElementSibling.textContent = `Times are in ${inUtc() ? "UTC" : name}.`;
      button.textContent = inUtc() ? `Show ${name}` : "Show UTC";
    };
    button.hidden = name === "UTC";
    button.addEventListener("click", () => {
      localStorage.setItem(ZONE, inUtc() ? "no" : "yes");
      label();
      showTimes(document);
    });
    label();
  }

  // In a narrow window a row is a card, and each cell has the name of its column beside it.
  function nameCells(root) {
    for (const table of root.querySelectorAll(".wide > table")) {
      const names = [...table.querySelectorAll("thead th")].map((one) => one.textContent.trim());
      for (const row of table.tBodies[0]?.rows ?? []) {
        if (row.cells.length !== names.length) continue;
        [...row.cells].forEach((cell, at) => {
          if (names[at] && cell.tagName === "TD" && !cell.querySelector("input[type=checkbox]")) cell.dataset.label = names[at];
        });
      }
      table.classList.add("stacked");
    }
  }

  async function copy(button) {
    const text = document.getElementById(button.dataset.copy).textContent;
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  }

  function prepare(root) {
    showTimes(root);
    nameCells(root);
    for (const button of root.querySelectorAll("button.copy")) {
      button.hidden = false;
      button.addEventListener("click", () => copy(button));
    }
    for (const button of root.querySelectorAll("button.select-all")) {
      button.hidden = false;
      button.addEventListener("click", () => {
        for (const box of button.form.querySelectorAll("input[type=checkbox]")) box.checked = true;
      });
    }
  }

  function amount(resource, value) {
    if (value == null) return "";
    if (resource === "cpu") return value < 1 ? `${Math.round(value * 1000)}m` : `${+value.toPrecision(3)}`;
    for (const [size, unit] of [[2 ** 30, "Gi"], [2 ** 20, "Mi"], [2 ** 10, "Ki"]]) {
      if (value >= size) return `${+(value / size).toPrecision(3)}${unit}`;
    }
    return `${value}`;
  }

  function draw(place, plot) {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const print = (_, value) => amount(plot.resource, value);
    const [seconds] = plot.data;
    const ours = colour("--ours");
    const series = [
      {},
      { label: "median", stroke: colour("--ink"), width: 1, value: print },
      { label: "highest", stroke: colour("--baseline"), width: 1, value: print },
      { label: "forecast, low", stroke: ours, width: 0.5, value: print },
      { label: "forecast", stroke: ours, width: 1.2, dash: [3, 3], value: print },
      { label: "forecast, high", stroke: ours, width: 0.5, value: print },
    ];
    const data = [...plot.data];
    for (const level of plot.levels) {
      series.push({
        label: level.label, stroke: level.label.startsWith("recommended") ? ours : colour("--soft"), width: 1.5,
        dash: level.label.endsWith("limit") ? [6, 4] : [], points: { show: false }, value: print,
      });
      data.push(seconds.map(() => level.value));
    }
    const memory = plot.resource === "memory" ? { incrs: [...Array(50).keys()].map((power) => 2 ** power) } : {};
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line") }, ticks: { stroke: colour("--line") } };
    const figure = document.createElement("figure");
    place.append(figure);
    new uPlot({
      title: plot.title, width: Math.max(figure.clientWidth - 30, 280), height: 260, series,
      bands: [{ series: [5, 3], fill: `${ours}33` }],
      cursor: { sync: { key: "workload" } },
      scales: { y: { range: (_, low, high) => [0, 1.08 * (high ?? 1)] } },
      tzDate: (at) => inUtc() ? uPlot.tzDate(new Date(at * 1000), "Etc/UTC") : new Date(at * 1000),
      axes: [axis, { ...axis, ...memory, size: 64, values: (_, ticks) => ticks.map((tick) => amount(plot.resource, tick)) }],
    }, data, figure);
  }

  async function plots(place) {
    const answer = await fetch(place.dataset.plots, { headers: { Accept: "application/json" } });
    if (!answer.ok) return; // the pictures beside it say why
    for (const plot of await answer.json()) draw(place, plot);
  }

  // A job tells when it has something new; its part of the page is then read anew.
  function follow(place) {
    const source = new EventSource(place.dataset.events);
    const renew = () => htmx.ajax("GET", place.dataset.part, { target: `#${place.id}`, swap: "outerHTML" });
    source.addEventListener("changed", renew);
    source.addEventListener("ended", () => { source.close(); renew(); });
  }

  document.addEventListener("DOMContentLoaded", () => {
    prepare(document);
    offerZones();
    for (const place of document.querySelectorAll("[data-events]")) follow(place);
    for (const place of document.querySelectorAll("[data-plots]")) {
      place.closest("details").addEventListener("toggle", () => plots(place), { once: true });
    }
  });
  document.addEventListener("htmx:load", (event) => prepare(event.detail.elt));
})();
