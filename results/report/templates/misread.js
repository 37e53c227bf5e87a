(() => {
  const data = JSON.parse(document.getElementById("misread-data").textContent);
  const [LANGUAGE, LABEL, PREDICTED, PROBABILITY, TEXT, PAIR, ORIGINAL] = [0, 1, 2, 3, 4, 5, 6];
  const SHORT = 280;

  function chosen(wanted) {
    const words = wanted.words.value.toLowerCase();
    return data.rows.filter((row) =>
      (!wanted.language.value || row[LANGUAGE] === wanted.language.value)
        && (!wanted.label.value || row[LABEL] === wanted.label.value)
        && (!wanted.predicted.value || row[PREDICTED] === wanted.predicted.value)
        && (!words || [TEXT, PAIR, ORIGINAL].some((at) => row[at].toLowerCase().includes(words))));
  }

  function written(parent, text, style) {
    const letters = [...text];
    if (letters.length <= SHORT) {
      add(parent, "div", text, style).dir = "auto";
      return;
    }
    const whole = document.createElement("details");
    const summary = add(whole, "summary", `${letters.slice(0, SHORT).join("")}\u2026`, style);
    summary.dir = "auto";
    add(whole, "div", `\u2026${letters.slice(SHORT).join("")}`, style).dir = "auto";
    parent.append(whole);
  }

  function line(row) {
    const element = document.createElement("tr");
    const text = add(element, "th", "");
    text.scope = "row";
    written(text, row[TEXT] || "(not known)");
    if (row[PAIR]) written(text, row[PAIR], "pair");
    if (row[ORIGINAL]) {
      const original = document.createElement("details");
      add(original, "summary", "original", "muted");
      add(original, "div", row[ORIGINAL]).dir = "auto";
      text.append(original);
    }
    const cell = (words, of, style) => {
      const made = add(element, "td", words, style);
      made.dataset.of = of; // a phone shows it beside the words, in place of the heading above
      return made;
    };
    cell(row[LANGUAGE], "language");
    cell(row[LABEL], "true label", "label").dir = "auto";
    cell(row[PREDICTED], "predicted", "label").dir = "auto";
    if (data.probable) cell(row[PROBABILITY] === null ? "\u2013" : (row[PROBABILITY] * 100).toFixed(1), "probability, %", "n");
    return element;
  }

  paged({ name: "misread", noun: "error", data, chosen, line })();
})();
