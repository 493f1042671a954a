"use strict";
/* One document's way: passes through stages, and in each the requests, with what they waited and what they took. */
const waterfall = (function () {
  const LABEL = 150;
  const LETTER = 6.3; // pixels of one, about, in the labels' size
  const PASS = 22;
  const REQUEST = 17;
  const { names } = report;

  function shape(name, attributes, text) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  const titled = (made, text) => {
    made.append(shape("title", {}, text));
    return made;
  };

  /* Attempts as they are written in the data: see `Writer._attempt`. */
  function attempt(values) {
    const [pass, start, waited, took, number, outcome, status, code, input, output, cost, role, model, why] = values;
    return { pass, start, waited, took, number, outcome: names.outcomes[outcome], status, code: names.codes[code] || "",
      input, output, cost, role: names.roles[role], model: names.models[model], why };
  }

  function kind(one) {
    return one.status === 429 ? "refused" : one.outcome === "succeeded" ? "" : one.outcome;
  }

  function words(one) {
    const parts = [one.status === null ? one.code || one.outcome : String(one.status)];
    if (one.waited >= 1) parts.push(`waited ${seconds(one.waited / 1000)}${one.why ? ` (${one.why})` : ""}`);
    parts.push(`took ${seconds(one.took / 1000)}`);
    return parts.join(" · ");
  }

  function nice(span, most) {
    const rough = span / most;
    const power = 10 ** Math.floor(Math.log10(rough));
    return [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= rough);
  }

  function draw(story, width) {
    const passes = story.passes || [];
    const attempts = (story.attempts || []).map(attempt);
    const end = Math.max(1, ...passes.map((pass) => pass[2] + pass[3]), ...attempts.map((one) => one.start + one.took));
    const right = 16 + LETTER * Math.max(8, ...attempts.map((one) => words(one).length));
    const room = Math.max(width - LABEL - right, 120);
    const at = (ms) => LABEL + (ms / end) * room;
    const height = 20 + passes.length * PASS + attempts.length * REQUEST;
    const svg = shape("svg", { class: "fall", width, height, viewBox: `0 0 ${width} ${height}`, role: "img",
      "aria-label": `${passes.length} passes, ${attempts.length} requests, ${seconds(end / 1000)} in all` });
    const step = nice(end, 6);
    for (let tick = 0; tick <= end; tick += step) {
      svg.append(shape("line", { class: "grid", x1: at(tick), x2: at(tick), y1: 16, y2: height }));
      svg.append(shape("text", { class: "quiet", x: at(tick) + 2, y: 10 }, seconds(tick / 1000)));
    }
    let y = 18;
    passes.forEach(([stage, cycle, start, length, ended], number) => {
      const label = `${names.stages[stage] || "no stage"}${cycle > 1 ? ` · ${cycle}` : ""}`;
      svg.append(titled(shape("text", { x: 0, y: y + 14 }, label.length > 24 ? `${label.slice(0, 23)}…` : label), label));
      const bar = { class: ended ? "pass" : "pass lost", x: at(start), y: y + 4, width: Math.max(at(start + length) - at(start), 1.5),
        height: 13, rx: 2 };
      svg.append(titled(shape("rect", bar), `${label}: ${seconds(length / 1000)}${ended ? "" : ", did not end well"}`));
      svg.append(shape("text", { class: "quiet", x: at(end) + 8, y: y + 14 }, seconds(length / 1000)));
      y += PASS;
      for (const one of attempts.filter((other) => other.pass === number)) {
        request(svg, one, at, y, end);
        y += REQUEST;
      }
    });
    return svg;
  }

  function request(svg, one, at, y, end) {
    const told = `${one.role}, attempt ${one.number}: ${words(one)}`;
    svg.append(shape("text", { class: "quiet", x: 12, y: y + 11 }, one.role.length > 22 ? `${one.role.slice(0, 21)}…` : one.role));
    const from = Math.max(one.start - one.waited, 0);
    if (one.waited >= 1) {
      svg.append(titled(shape("rect", { class: "wait", x: at(from), y: y + 5, width: Math.max(at(one.start) - at(from), 0.5), height: 5 }), told));
    }
    const width = Math.max(at(one.start + one.took) - at(one.start), 1.5);
    svg.append(titled(shape("rect", { class: `took ${kind(one)}`, x: at(one.start), y: y + 3, width, height: 9, rx: 1.5 }), told));
    svg.append(shape("text", { class: "quiet", x: at(end) + 8, y: y + 11 }, words(one)));
  }

  function legend() {
    const marks = [["took", "answered"], ["took refused", "429"], ["took failed", "failed"], ["wait", "waited"], ["pass", "pass through a stage"]];
    return element("div", { class: "legend", "aria-hidden": "true" }, ...marks.map(([name, text]) => {
      const svg = shape("svg", { class: "fall", viewBox: "0 0 12 9" });
      svg.append(shape("rect", { class: name, width: 12, height: 9, rx: 1.5 }));
      return element("span", {}, svg, text);
    }));
  }

  function table(story) {
    const columns = ["stage", "cycle", "role", "model", "attempt", "ended", "waited", "took", "in", "out", "cost", "error"];
    const numbers = new Set([1, 4, 6, 7, 8, 9, 10]);
    const cell = (name, value, number) => element(name, numbers.has(number) ? { class: "n" } : {}, element("bdi", {}, value));
    const head = element("tr", {}, ...columns.map((name, number) => {
      const made = cell("th", name, number);
      made.scope = "col";
      return made;
    }));
    const body = (story.attempts || []).map((values, number) => {
      const one = attempt(values);
      const [stage, cycle] = story.passes[one.pass];
      const waited = one.waited ? `${seconds(one.waited / 1000)}${one.why ? ` ${one.why}` : ""}` : "-";
      const cells = [names.stages[stage] || "-", String(cycle || "-"), one.role, one.model, String(one.number),
        `${one.outcome} ${one.status === null ? "" : one.status}`, waited, seconds(one.took / 1000),
        count(one.input), count(one.output), money(one.cost), [one.code, (story.errors || {})[number]].filter(Boolean).join(": ")];
      return element("tr", {}, ...cells.map((value, place) => cell("td", value, place)));
    });
    return element("details", {}, element("summary", {}, `Each request (${body.length})`),
      element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Each request" },
        element("table", {}, element("thead", {}, head), element("tbody", {}, ...body))));
  }

  function verdicts(story) {
    return element("ul", { class: "verdicts" }, ...story.verdicts.map(([stage, cycle, approved, issues, suggestions]) =>
      element("li", {}, element("span", { class: "quiet" }, `${names.stages[stage] || "review"}, cycle ${cycle}: `),
        approved ? "approved" : "not approved", element("p", {}, element("bdi", {}, issues)),
        element("p", { class: "quiet" }, element("bdi", {}, suggestions)))));
  }

  function exchanges(story) {
    const parts = story.exchanges.flatMap(([who, prompt, answer]) => [
      element("div", {}, element("p", { class: "quiet" }, `to ${who}`), element("pre", { tabindex: "0" }, prompt)),
      element("div", {}, element("p", { class: "quiet" }, "answer"), element("pre", { tabindex: "0" }, answer))]);
    return element("details", {}, element("summary", {}, `Prompts and answers (${story.exchanges.length})`),
      element("div", { class: "texts" }, ...parts));
  }

  /* Returns what a document's row opens to; `width` in pixels. */
  return function (story, width) {
    const made = element("div", {});
    if (!story) {
      made.append(element("p", { class: "quiet" }, "Its requests are left out, to keep this page small; they are in the run's ledger."));
      return made;
    }
    if (story.error) made.append(element("p", { class: "error" }, element("bdi", {}, story.error)));
    if (story.passes) made.append(legend(), draw(story, width));
    else made.append(element("p", { class: "quiet" }, "No stage began on it."));
    if (story.left_out) made.append(element("p", { class: "note" }, `${count(story.left_out)} more requests are not shown.`));
    if (story.attempts) made.append(table(story));
    if (story.verdicts) made.append(verdicts(story));
    if (story.exchanges) made.append(exchanges(story));
    return made;
  };
})();
