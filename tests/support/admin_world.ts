// The admin API in front of a fake Control, asked without a network.

import { adminApp } from "../../src/admin/app.ts";
import { Guard } from "../../src/admin/guard.ts";
import { Metrics } from "../../src/admin/metrics.ts";
import type { Control } from "../../src/control.ts";
import { fakeControl } from "./fake_control.ts";

export const PEER = "192.0.2.7:1";
export const TOKEN = "a token for tests";

export function adminWorld(shown: Partial<Control> = {}, token: string | null = null) {
  const control = fakeControl(shown);
  const guard = new Guard(() => ({ token, names: [] }));
  const app = adminApp(control, new Metrics(control, () => 50), guard, () => token !== null);
  const ask = async (what: string, init: { body?: BodyInit; headers?: HeadersInit } = {}) => {
    const [method, path] = what.split(" ") as [string, string];
    const url = `http://127.0.0.1:9090${path}`;
    const headers = { host: "127.0.0.1:9090", ...init.headers };
    const request = new Request(url, { ...init, method, headers });
    const response = await app.fetch(request, { peer: PEER });
    const text = await response.text();
    const isJson = response.headers.get("content-type")?.startsWith("application/json") === true;
    return {
      status: response.status,
      headers: response.headers,
      text,
      json: isJson && text !== "" ? JSON.parse(text) : null,
    };
  };
  return { control, ask };
}
