"use strict";
(() => {
  // Numbers in the cells of a heat map are legible from this width on, unless the figure's meta says otherwise.
  const WIDTH_FOR_NUMBERS = 700;
  const POLL_MILLISECONDS = 2000;
  const isTouch = matchMedia("(pointer: coarse)").matches;
  const BUTTONS = [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]];
  const OPTIONS = { responsive: true, displaylogo: false, displayModeBar: isTouch ? false : "hover", modeBarButtons: BUTTONS };

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // Use the page's colours, and on a touch screen let a finger scroll the page instead of zooming the picture.
  function dressed(figure, width) {
    const layout = figure.layout;
    Object.assign(layout, { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", autosize: true });
    layout.font = { family: "system-ui, sans-serif", size: 12, color: colour("--ink") };
    if (isTouch) layout.dragmode = false;
    for (const axis of [layout.xaxis, layout.yaxis])
      Object.assign(axis, { gridcolor: colour("--line"), zerolinecolor: colour("--quiet"), fixedrange: isTouch });
    for (const trace of figure.data)
      if (trace.type === "heatmap" && width < (trace.meta ?? WIDTH_FOR_NUMBERS)) {
        trace.texttemplate = "";
        trace.colorbar.x = 1;
        layout.yaxis.tickfont = { size: 10 };
      }
    return figure;
  }

  const specification = (plot) => plot.nextElementSibling.textContent;

  function draw(plot) {
    const text = specification(plot);
    if (plot.drawnFrom === text || plot.closest("details:not([open])") !== null) return;
    plot.drawnFrom = text;
    const figure = dressed(JSON.parse(text), plot.clientWidth);
    Plotly.react(plot, figure.data, figure.layout, OPTIONS);
    if (plot.zoomed === undefined) rememberZoom(plot);
    else if (Object.keys(plot.zoomed).length) Plotly.relayout(plot, plot.zoomed);
  }

  // A live picture is redrawn all the time, and its ranges grow with the run, but what the reader zoomed into stays.
  function rememberZoom(plot) {
    let isReset = false;
    plot.zoomed = {};
    plot.on("plotly_doubleclick", () => void (isReset = true));
    plot.on("plotly_relayout", (change) => {
      const ranges = Object.entries(change).filter(([name]) => /^[xy]axis\.range\[[01]\]$/.test(name));
      plot.zoomed = isReset ? {} : { ...plot.zoomed, ...Object.fromEntries(ranges) };
      isReset = false;
    });
  }

  const plots = () => [...document.querySelectorAll(".plot")];
  const isNear = (plot) => plot.getBoundingClientRect().top < 2 * innerHeight;

  // Draw what is in sight first and the rest one by one, so that the page stays responsive.
  function drawAll() {
    const waiting = plots();
    waiting.filter(isNear).forEach(draw);
    const next = () => {
      const plot = waiting.shift();
      if (plot === undefined) return void (document.documentElement.dataset.drawn = "all");
      draw(plot);
      setTimeout(next);
    };
    next();
  }

  // Existing pictures move into the new content, so that they keep their zoom.
  function replaceContent(html) {
    // Before anything moves, because a page that becomes shorter scrolls.
    const { scrollX, scrollY } = window;
    const fresh = new DOMParser().parseFromString(`<main>${html}</main>`, "text/html").querySelector("main");
    for (const plot of plots()) {
      const twin = fresh.querySelector(`#${plot.id}`);
      if (twin === null) continue;
      plot.style.height = twin.style.height;
      twin.replaceWith(plot);
    }
    for (const details of document.querySelectorAll("details[id]")) {
      const twin = fresh.querySelector(`#${details.id}`);
      if (twin !== null) twin.open = details.open;
    }
    document.querySelector("main").replaceWith(fresh);
    window.scrollTo(scrollX, scrollY);
    drawAll();
  }

  async function ask(path) {
    const answer = await fetch(path);
    if (!answer.ok) throw new Error(await answer.text());
    return answer.text();
  }

  async function follow(seen) {
    const status = document.getElementById("live");
    try {
      const now = await ask("/version");
      if (now !== seen) replaceContent(await ask("/content"));
      seen = now;
      status.textContent = `Live. Last updated at ${new Date().toLocaleTimeString()}.`;
    } catch (error) {
      status.textContent = `Updates are interrupted: ${error.message}`;
    }
    setTimeout(follow, POLL_MILLISECONDS, seen);
  }

  document.addEventListener("toggle", (event) => event.target.open && event.target.querySelectorAll(".plot").forEach(draw), true);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const plot of plots()) plot.drawnFrom = undefined;
    drawAll();
  });
  drawAll();
  if ("version" in document.body.dataset) follow(document.body.dataset.version);
})();
