// The page works without this script. The script avoids reloads and counts the remaining time down.
let arrived = Date.now();
let asked = false;
let last = Promise.resolve();

/** Sends requests one after the other, so that an older response never overwrites a newer one. */
function load(url, init) {
  last = last.then(() => show(url, init));
}

async function show(url, init) {
  try {
    const response = await fetch(url, { ...init, headers: { accept: "text/html" } });
    const received = Date.now();
    const text = await response.text();
    if (!response.headers.get("content-type")?.startsWith("text/html")) return say(JSON.parse(text).error);
    const page = new DOMParser().parseFromString(text, "text/html");
    const focused = document.activeElement?.id;
    for (const id of ["current", "stored", "status"]) {
      const [here, there] = [document.getElementById(id), page.getElementById(id)];
      here.className = there.className;
      here.replaceChildren(...there.childNodes);
    }
    if (focused && document.activeElement?.id !== focused) document.getElementById(focused)?.focus();
    arrived = received;
    asked = false;
    count();
  } catch {
    say("The server does not answer.");
  }
}

function say(text) {
  const status = document.getElementById("status");
  status.className = "error";
  status.textContent = text;
}

function count() {
  const passed = Date.now() - arrived;
  for (const place of document.querySelectorAll("[data-left]")) {
    const left = Math.max(0, place.dataset.left - passed);
    place.textContent = `${Math.ceil(left / 1000)} s`;
    place.nextElementSibling.value = left / 1000;
    if (left > 0 || asked) continue;
    // Another tab may have extended the session: ask the server, without extending it.
    asked = true;
    load("/?peek");
  }
}

document.addEventListener("submit", (event) => {
  event.preventDefault();
  const { action, method } = event.target;
  load(action, { method, body: new URLSearchParams(new FormData(event.target)) });
});
// A page restored from the back/forward cache shows an old state.
addEventListener("pageshow", (event) => event.persisted && load("/?peek"));
setInterval(count, 200);
count();
history.replaceState(null, "", "/");
