// The dashboard's page as it is before anything is known: it holds no data, so anybody may have it.

import { SORTS } from "./listing.ts";

/** Panels by their id; each is filled by an event of that name. */
export const PANELS = {
  figures: "Now",
  tenants: "Tenants",
  pools: "Pools",
  backends: "Server connections",
  pinned: "Clients that keep their server connection",
  refusals: "Recent refusals",
} as const;
export type Panel = keyof typeof PANELS;

/** Titles of panels that are no tables. */
const BARE: readonly Panel[] = ["figures"];

/** @param version of pgvpd. */
export function Page({ version }: { readonly version: string }) {
  return (
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>pgvpd</title>
        <link rel="icon" href="data:," />
        <link rel="stylesheet" href="/dashboard/style.css" />
        <script type="module" src="/dashboard/client.js"></script>
      </head>
      <body>
        <a class="skip" href="#main">To the content</a>
        <header>
          <h1>
            pgvpd <small>{version}</small>
          </h1>
          <p id="state" class="state" data-state="connecting">connecting</p>
          <div id="summary"></div>
        </header>
        <main id="main" tabindex={-1}>
          {Object.entries(PANELS).map(([id, title]) => (
            <section aria-labelledby={`${id}-title`}>
              <h2 id={`${id}-title`}>{title}</h2>
              {id === "tenants" ? <TenantSearch /> : null}
              <div
                id={id}
                class={BARE.includes(id as Panel) ? "panel" : "panel scrolls"}
                role="region"
                aria-labelledby={`${id}-title`}
                tabindex={BARE.includes(id as Panel) ? undefined : 0}
              >
              </div>
            </section>
          ))}
        </main>
        <p id="said" role="status" aria-live="polite"></p>
        <noscript>The dashboard needs JavaScript; /status and /metrics do not.</noscript>
        <TokenDialog />
        <ConfirmDialog />
      </body>
    </html>
  );
}

function TenantSearch() {
  return (
    <form id="search" role="search">
      <label>
        Search <input type="search" name="search" autocomplete="off" spellcheck={false} />
      </label>
      <label>
        Sort by{" "}
        <select name="sort">
          {Object.entries(SORTS).map(([sort, title]) => <option value={sort}>{title}</option>)}
        </select>
      </label>
    </form>
  );
}

function TokenDialog() {
  return (
    <dialog id="token" aria-labelledby="token-title">
      <form method="dialog">
        <h2 id="token-title">Admin token</h2>
        <p>What admin_token is set to. It is kept until this tab is closed.</p>
        <label>
          Token <input type="password" name="token" autocomplete="current-password" required />
        </label>
        <button type="submit">Continue</button>
      </form>
    </dialog>
  );
}

function ConfirmDialog() {
  return (
    <dialog id="confirm" aria-labelledby="confirm-title">
      <form method="dialog">
        <h2 id="confirm-title">Are you sure?</h2>
        <p id="question"></p>
        <button type="submit" value="no" autofocus>Cancel</button>{" "}
        <button type="submit" value="yes" class="danger">Yes</button>
      </form>
    </dialog>
  );
}
