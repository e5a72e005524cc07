"use strict";
(() => {
  // read anew each time: on the page of `workshop open`, requests arrive later
  const rows = () => [...document.querySelectorAll(".row[id]")];
  const details = () => [...document.querySelectorAll("details")];
  const all = document.getElementById("all");
  all.parentElement.hidden = false;
  all.addEventListener("click", () => {
    const open = details().some((one) => !one.open);
    for (const one of details()) one.open = open;
    all.textContent = open ? "Close all details" : "Open all details";
  });
  const go = (by) => {
    const here = rows().indexOf(document.activeElement?.closest(".row[id]"));
    const next = rows()[Math.min(rows().length - 1, Math.max(0, here + by))];
    if (!next) return;
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "center" });
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "j") go(1);
    else if (event.key === "k") go(-1);
    else if (event.key === "Enter" && rows().includes(event.target)) {
      const own = event.target.querySelector("details");
      if (own) own.open = !own.open;
    }
  });
  const mark = (label) => {
    for (const chip of document.querySelectorAll(".chip")) {
      chip.classList.toggle("same", label !== undefined && chip.dataset.label === label);
    }
  };
  document.addEventListener("pointerover", (event) => mark(event.target.closest?.(".chip")?.dataset.label));
  window.addEventListener("beforeprint", () => { for (const one of details()) one.open = true; });
})();
