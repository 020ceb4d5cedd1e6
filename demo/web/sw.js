// Caches the page for offline use, and adds the headers for cross-origin isolation, without which
// WebAssembly has no threads, where the server does not send them.
importScripts("assets/files.js");
const NAME = `b2m-${self.B2M.version}`;
self.addEventListener("install", (event) => event.waitUntil((async () => {
  const cache = await caches.open(NAME); await cache.addAll(self.B2M.files); await self.skipWaiting();
})()));
self.addEventListener("activate", (event) => event.waitUntil((async () => {
  for (const name of await caches.keys()) if (name.startsWith("b2m-") && name !== NAME) await caches.delete(name);
  await self.clients.claim();
})()));
self.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET" || new URL(event.request.url).origin !== location.origin) return;
  event.respondWith((async () => {
    const cache = await caches.open(NAME), known = await cache.match(event.request, { ignoreSearch: true });
    const answer = known ?? await fetch(event.request);
    if (!known && answer.status === 200 && answer.type === "basic") await cache.put(event.request, answer.clone());
    if (answer.type === "opaque" || answer.status === 0) return answer;
    const headers = new Headers(answer.headers); headers.set("Cross-Origin-Opener-Policy", "same-origin");
    headers.set("Cross-Origin-Embedder-Policy", "require-corp"); headers.set("Cross-Origin-Resource-Policy", "same-origin");
    return new Response(answer.body, { status: answer.status, statusText: answer.statusText, headers });
  })());
});
