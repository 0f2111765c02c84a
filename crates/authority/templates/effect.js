// Tells the person, on the page that they look at, when their withdrawal has taken effect: one change of a live region,
// which a screen reader says once; nothing moves the focus. Without this file, « Actualiser » does the same.
(() => {
  const region = document.querySelector('[data-effect]');
  const refresh = document.querySelector('[data-refresh]');
  if (!region || !refresh) return;
  // The answer waits for the effect, so the pause comes only where it is late. With it, ten minutes at least.
  const [PAUSE_MS, TRIES, WITHIN_MS] = [1_000, 600, 30_000];

  // Where it stands; null where the server, or the session, is gone.
  async function ask() {
    try {
      const signal = AbortSignal.timeout(WITHIN_MS);
      const answer = await fetch(region.dataset.effect, { redirect: 'manual', cache: 'no-store', signal });
      return answer.ok ? await answer.json() : null;
    } catch {
      return null;
    }
  }

  function show({ stage, recorded_at, effective_at, words }) {
    if (stage === region.dataset.stage) return;
    for (const part of region.querySelectorAll('[data-word]')) part.textContent = words[part.dataset.word];
    region.querySelector('time').dateTime = effective_at ?? recorded_at;
    region.dataset.stage = stage;
    const proof = region.querySelector('[data-proof]');
    if (proof) proof.hidden = stage !== 'effective';
  }

  // The button goes while this works in its place, unless the person is about to press it.
  const offer = (offered) => {
    refresh.hidden = !offered && !refresh.contains(document.activeElement);
  };

  async function follow() {
    offer(false);
    for (let n = 0; n < TRIES; n += 1) {
      const told = await ask();
      offer(!told);
      if (told) show(told);
      if (told?.stage === 'effective') return;
      await new Promise((over) => setTimeout(over, PAUSE_MS));
    }
    offer(true);
  }

  follow();
})();
