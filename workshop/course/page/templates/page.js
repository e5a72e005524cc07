(() => {
  const body = document.body;
  const root = document.documentElement;
  const at = (id) => document.getElementById(id);
  const views = ["lesson", "handshake", "requests"];

  const choose = (name) => {
    for (const view of views) {
      at(view).hidden = view !== name;
      at(`tab-${view}`).setAttribute("aria-selected", String(view === name));
      at(`tab-${view}`).tabIndex = view === name ? 0 : -1;
    }
  };
  const tabs = document.querySelector(".tabs");
  tabs.hidden = false;
  tabs.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (tab) choose(tab.getAttribute("aria-controls"));
  });
  tabs.addEventListener("keydown", (event) => {
    const here = views.findIndex((view) => document.activeElement === at(`tab-${view}`));
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (here < 0 || !by) return;
    const name = views[(here + by + views.length) % views.length];
    choose(name);
    at(`tab-${name}`).focus();
    event.stopPropagation();
  });

  // copying: each command gets a button, also those that arrive later
  const addButtons = (inside) => {
    for (const command of inside.querySelectorAll(".command:not(:has(button))")) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "copy";
      button.textContent = "Copy";
      button.setAttribute("aria-label", `Copy ${command.dataset.command}`);
      command.append(button);
    }
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.(".copy");
    if (!button) return;
    try {
      await navigator.clipboard.writeText(button.closest(".command").dataset.command);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });

  // presenting: one row of the diagram at a time
  const rows = () => [...at("live").querySelectorAll(".row")];
  let shown = 0;
  let following = true;
  const show = () => {
    const all = rows();
    shown = Math.max(0, Math.min(shown, all.length - 1));
    const presenting = root.classList.contains("present");
    // the arrows of a request stay while what it causes, and then its answer, is shown
    let first = shown;
    while (first > 0 && all[first].matches(".inner, .late")) first -= 1;
    all.forEach((row, index) => {
      row.classList.toggle("current", presenting && index === shown);
      row.classList.toggle("past", presenting && index >= first && index < shown);
    });
    const hop = all[shown]?.closest(".phase").dataset.hop;
    for (const step of at("live").querySelectorAll(".hops li")) {
      step.classList.toggle("current", presenting && step.dataset.hop === hop);
    }
  };
  const present = (on) => {
    root.classList.toggle("present", on);
    at("present").textContent = on ? "Show all" : "Present";
    if (on) choose("handshake");
    show();
  };
  at("present").addEventListener("click", () => present(!root.classList.contains("present")));
  const MOVES = { ArrowRight: 1, ArrowDown: 1, PageDown: 1, ArrowLeft: -1, ArrowUp: -1, PageUp: -1 };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !root.classList.contains("present")) return;
    if (event.key === "Escape") present(false);
    else if (event.key in MOVES) shown += MOVES[event.key];
    else if (event.key === "Home") shown = 0;
    else if (event.key === "End") shown = rows().length - 1;
    else return;
    event.preventDefault();
    following = shown >= rows().length - 1;
    show();
  });

  // what the server sends
  const source = new EventSource(body.dataset.events);
  let before = 0;
  source.addEventListener("progress", (event) => {
    at("progress").innerHTML = JSON.parse(event.data).html;
    addButtons(at("progress"));
  });
  source.addEventListener("requests", (event) => {
    at("received").innerHTML = JSON.parse(event.data).html;
    addButtons(at("received"));
  });
  source.addEventListener("handshake", (event) => {
    const { html, running, steps } = JSON.parse(event.data);
    const live = at("live");
    const open = new Set([...live.querySelectorAll(".row[id]:has(details[open])")].map((row) => row.id));
    const focused = live.contains(document.activeElement) ? document.activeElement.closest("[id]").id : "";
    live.innerHTML = html;
    rows().forEach((row, index) => {
      row.classList.toggle("new", running && index >= before);
      if (open.has(row.id)) row.querySelector("details").open = true;
    });
    if (focused && at(focused)) at(focused).focus({ preventScroll: true });
    if (running && steps > before) at("news").textContent = [...live.querySelectorAll("h3")].at(-1).textContent;
    before = running ? steps : 0;
    at("pulse").hidden = !running;
    if (following) shown = running ? rows().length - 1 : shown;
    addButtons(live);
    show();
  });
  source.addEventListener("open", () => { at("lost").hidden = true; });
  source.addEventListener("error", () => { at("lost").hidden = false; });

  addButtons(document);
  choose("lesson");
  if (root.classList.contains("present")) present(true);
})();
