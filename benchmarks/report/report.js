// Shows the queries of data.js: chosen by words, method and result, some at a time. Text goes in as text, never as HTML.
"use strict";
(() => {
  const { images, queries, methods } = window.REPORT;
  const form = document.getElementById("filters");
  if (!form) return;
  const STEP = 8;
  const field = Object.fromEntries(["search", "which", "result", "count"].map((id) => [id, document.getElementById(id)]));
  const cards = document.getElementById("cards");
  const more = document.getElementById("more");
  let found = [];
  let visible = 0;

  // element("li", { class: "hit" }, child, "text") makes an element; undefined attributes and children are left out.
  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) if (value !== undefined) made.setAttribute(key, value);
    made.append(...children.filter((child) => child !== undefined));
    return made;
  }

  const picture = (image) => {
    const [id, caption] = images[image];
    return element("img", { src: `pictures/${id}.webp`, alt: caption, title: caption });
  };

  const ordinal = (n) => n + (["th", "st", "nd", "rd"][n % 100 > 10 && n % 100 < 14 ? 0 : n % 10] ?? "th");

  // first: the wanted picture stands first, alone or tied; listed: lower; missed: not among those listed
  const result = (method, query) => {
    const before = method.places[query][0];
    return before === 0 ? "first" : before > 0 ? "listed" : "missed";
  };

  function place(method, query) {
    const [before, tied] = method.places[query];
    if (before < 0) return "✗ not listed";
    const shared = tied > 1 ? `, tied with ${tied - 1}` : "";
    return (before === 0 ? "✓ 1st" : `↓ ${ordinal(before + 1)}`) + shared;
  }

  // The identifier of an image, of several the one that shares most with the wanted picture's; its shared beginning is marked.
  function identifier(method, image, wanted) {
    const own = method.codes[image];
    if (!own) return undefined;
    const shared = (one, other) => {
      let n = 0;
      while (n < one.length && one[n] === other[n]) n += 1;
      return n;
    };
    let best = { code: own[0].split(" "), length: 0 };
    for (const one of own) {
      for (const other of method.codes[wanted] ?? []) {
        const code = one.split(" ");
        const length = shared(code, other.split(" "));
        if (length > best.length) best = { code, length };
      }
    }
    const made = element("code", { title: own.length > 1 ? `one of ${own.length} identifiers` : "identifier" });
    if (best.length) made.append(element("u", {}, best.code.slice(0, best.length).join(" ")), " ");
    made.append(best.code.slice(best.length).join(" "));
    return made;
  }

  // A list's scores have digits alike: none where all are whole.
  function printed(score, list) {
    if (score === null) return "−∞";
    const digits = list.every((one) => one === null || Number.isInteger(one)) ? 0 : Math.abs(list[0]) < 1 ? 3 : 2;
    return score.toFixed(digits).replace("-", "−");
  }

  function answer(method, query, position, detailed) {
    const wanted = queries[query].image;
    const image = method.answers[query][position];
    const score = method.scores[query][position];
    const hit = image === wanted;
    return element(
      "li",
      { class: hit ? "answer hit" : "answer" },
      picture(image),
      hit ? element("span", { class: "mark hit" }, "✓ wanted") : undefined,
      element("span", { class: "score", title: method.score }, printed(score, method.scores[query])),
      detailed ? identifier(method, image, wanted) : undefined,
    );
  }

  function row(method, query, detailed) {
    const count = Math.min(Number(field.count.value), method.answers[query].length);
    const list = element("ol", { class: "answers", "aria-label": `First pictures of ${method.label}` });
    for (let position = 0; position < count; position += 1) list.append(answer(method, query, position, detailed));
    return element(
      "div",
      { class: `row ${result(method, query)}`, "data-method": method.key },
      element("div", { class: "who" }, element("h4", {}, method.label), element("p", { class: "place" }, place(method, query))),
      count ? list : element("p", { class: "absent" }, "no answer"),
    );
  }

  function card(query) {
    const { text, image, drawn } = queries[query];
    const chosen = chosenMethods();
    const detailed = chosen.length <= 2;
    const wanted = element("figure", { class: "wanted" }, picture(image), element("figcaption", {}, "wanted picture"));
    for (const method of detailed ? chosen.filter((one) => one.codes[image]) : []) {
      wanted.append(element("p", { class: "whose" }, `${method.label}: identifier`), ...method.codes[image].map((code) => element("code", {}, code)));
    }
    const failed = chosen.filter((method) => method.worst.includes(query)).map((method) => method.label);
    const kind = [drawn ? "drawn by seed" : undefined, failed.length ? `a worst failure of ${failed.join(", ")}` : undefined];
    return element(
      "article",
      { class: detailed ? "card detailed" : "card", "data-query": query },
      wanted,
      element(
        "div",
        { class: "right" },
        element("h3", {}, `“${text}”`),
        element("p", { class: "kind" }, kind.filter(Boolean).join(" · ")),
        ...chosen.map((method) => row(method, query, detailed)),
      ),
    );
  }

  const chosenMethods = () => methods.filter((method) => document.getElementById(`method-${method.key}`).checked);

  // The queries of the chosen kind; of failures the worst of all chosen methods first, then the second worst of all …
  function candidates(chosen) {
    if (field.which.value !== "worst") {
      return queries.map((_, query) => query).filter((query) => field.which.value === "all" || queries[query].drawn);
    }
    const ranks = new Map();
    for (const method of chosen) {
      method.worst.forEach((query, rank) => ranks.set(query, Math.min(rank, ranks.get(query) ?? Infinity)));
    }
    return [...ranks.keys()].sort((a, b) => ranks.get(a) - ranks.get(b) || a - b);
  }

  function matches(chosen) {
    const words = field.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = field.result.value;
    return (query) => {
      if (!words.every((word) => queries[query].text.toLowerCase().includes(word))) return false;
      if (wanted === "any") return true;
      const results = chosen.map((method) => result(method, query));
      if (wanted === "differ") return results.includes("first") && results.some((one) => one !== "first");
      return results.includes(wanted);
    };
  }

  function show() {
    const next = found.slice(visible, visible + STEP);
    cards.append(...next.map(card));
    visible += next.length;
    more.hidden = visible >= found.length;
    more.textContent = `Show ${Math.min(STEP, found.length - visible)} more`;
  }

  function update() {
    const chosen = chosenMethods();
    const all = candidates(chosen);
    found = chosen.length ? all.filter(matches(chosen)) : [];
    cards.dataset.count = field.count.value;
    visible = 0;
    cards.replaceChildren();
    show();
    document.getElementById("shown").textContent = chosen.length
      ? `${found.length} of ${all.length} queries, ${chosen.length} ${chosen.length === 1 ? "method" : "methods"}`
      : "No method is chosen: choose one.";
  }

  const boxes = document.getElementById("methods");
  for (const method of methods) {
    const box = element("input", { type: "checkbox", id: `method-${method.key}` });
    box.checked = method.checked;
    boxes.append(element("label", { for: box.id }, box, ` ${method.label}`));
  }
  form.hidden = false;
  document.getElementById("legend").hidden = false;
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", () => {
    const first = visible;
    show();
    const card = cards.children[first];
    card.tabIndex = -1;
    card.focus({ preventScroll: true });
  });
  update();
})();
