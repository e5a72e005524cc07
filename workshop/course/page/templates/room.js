(() => {
  const at = (id) => document.getElementById(id);
  const source = new EventSource(document.body.dataset.events);
  source.addEventListener("room", (event) => { at("room").innerHTML = JSON.parse(event.data).html; });
  source.addEventListener("open", () => { at("lost").hidden = true; });
  source.addEventListener("error", () => { at("lost").hidden = false; });
})();
