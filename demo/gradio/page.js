// While the button is held, the photo lies over the clip.
(() => {
  let cover = null;
  const lift = () => { cover?.remove(); cover = null; };
  const hold = (event) => {
    if (!event.target.closest?.("#peek") || cover) return;
    if (event.type === "keydown" && ![" ", "Enter"].includes(event.key)) return;
    const [clip, photo] = ["#clip video", "#pad .stage img"].map((s) => document.querySelector(s));
    if (!clip || !photo?.getAttribute("src")) return;
    event.preventDefault();
    const [box, around] = [clip, clip.parentElement].map((e) => e.getBoundingClientRect());
    clip.parentElement.style.position = "relative";
    cover = document.createElement("img");
    Object.assign(cover, { src: photo.src, alt: "Your photo", id: "cover" });
    Object.assign(cover.style, {
      position: "absolute", objectFit: "contain", width: `${box.width}px`, height: `${box.height}px`,
      left: `${box.left - around.left}px`, top: `${box.top - around.top}px`, zIndex: 5,
    });
    clip.parentElement.append(cover);
  };
  for (const type of ["pointerdown", "keydown"]) document.addEventListener(type, hold);
  for (const type of ["pointerup", "pointercancel", "keyup", "blur"]) window.addEventListener(type, lift);

  // A file is taken along in the same click that made it.
  window.b2mTake = (file) => {
    if (!file) return;
    const link = document.createElement("a");
    Object.assign(link, { href: file.url, download: file.orig_name || file.path.split("/").pop() });
    document.body.append(link);
    link.click();
    link.remove();
  };
  window.b2mLink = (values) => {
    const link = new URL(location.pathname, location.href);
    ["frames", "speed", "pingpong", "model"].forEach((name, k) => link.searchParams.set(name, values[k]));
    navigator.clipboard?.writeText(link.href).catch(() => {});
    return link.href;
  };
  document.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.altKey || event.key.toLowerCase() !== "z") return;
    if (event.target.closest?.("textarea, input[type=text], input[type=number], [contenteditable=true]")) return;
    const button = document.querySelector(event.shiftKey ? "#redo" : "#undo");
    if (!button || !button.offsetParent) return;
    event.preventDefault();
    if (!button.disabled) button.click();
  });

  // On a phone the clip lies below what starts it, and the page is long enough only once it is there.
  let following = false;
  const show = () => document.querySelector("#status")?.scrollIntoView({ block: "start" });
  const follow = (event) => {
    const starts = event.type === "change" ? "#photo input" : "#go, #examples button";
    following = innerWidth <= 720 && event.target.closest?.(starts) ? true : following;
    if (following) show();
  };
  for (const type of ["click", "change"]) document.addEventListener(type, follow);
  for (const type of ["touchmove", "wheel"]) {
    document.addEventListener(type, () => { following = false; }, { passive: true });
  }

  // What Gradio's own parts leave out for those who listen to the page.
  const pictures = [
    ["#photo", "Your blurred photo"],
    ["#given", "Your blurred photo"],
    ["#colored", "Motion field or moving objects in your photo"],
    ["#still", "The sharp photo"],
    ["#compare", "Your blurred photo", "The sharp frame"],
  ];
  const clips = [
    ["#clip", "The clip: what happened while the shutter was open"],
    ["#blurry", "Your blurred video"],
    ["#slow", "The sharp video in slow motion"],
  ];
  const mend = () => {
    for (const empty of document.querySelectorAll('[aria-label="Empty value"]:not([role])')) {
      empty.setAttribute("role", "img");
    }
    for (const drop of document.querySelectorAll(".upload-container[aria-label]")) {
      drop.removeAttribute("aria-label");
    }
    for (const [selector, ...texts] of pictures) {
      document.querySelectorAll(`${selector} img`).forEach((picture, number) => {
        if (!picture.alt) picture.alt = texts[number] ?? texts[0];
      });
    }
    for (const [selector, text] of clips) {
      const video = document.querySelector(`${selector} video:not([aria-label])`);
      video?.setAttribute("aria-label", text);
      video?.setAttribute("tabindex", "0"); // the arrow keys step through its frames
    }
    if (following && document.querySelector("#motions button")) {
      following = false;
      show();
    }
    const busy = document.querySelector("#status .status")?.dataset.busy === "true";
    document.querySelector("#clip")?.classList.toggle("dimmed", busy);
  };
  new MutationObserver(mend).observe(document, {
    subtree: true, childList: true, attributeFilter: ["data-busy"],
  });
})();
