(() => {
  const specs = JSON.parse(document.getElementById("specs").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  for (const place of document.querySelectorAll(".vega")) {
    const large = !place.classList.contains("small");
    const options = {
      renderer: "svg",
      ast: true, // expressions are interpreted: the page's policy lets nothing be evaluated
      tooltip: { theme: dark ? "dark" : "light" },
      actions: large ? { export: true, source: false, compiled: false, editor: false } : false,
      downloadFileName: place.dataset.spec,
    };
    vegaEmbed(place, specs[place.dataset.spec], options).catch((error) => {
      place.textContent = `This figure could not be drawn: ${error.message}`;
    });
  }
})();
