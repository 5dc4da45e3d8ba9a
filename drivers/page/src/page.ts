// Ties the page together: the stream to the views, the API to the panels.

import { AlertBar } from "./alerts.js";
import { request } from "./api.js";
import { CementPanel } from "./cement.js";
import { CorridorSearch } from "./corridor.js";
import { byId, setText } from "./dom.js";
import { HistoryButtons } from "./history.js";
import { PathPanel } from "./paths.js";
import { PictureView } from "./picture.js";
import { PlanPanel } from "./plan.js";
import { RegistrationPanel } from "./registration.js";
import { Stream } from "./stream.js";
import type { Case, LiveState, Path, PictureHeader, RegistrationState, Status, Volume, Zone } from "./types.js";
import { VolumePanel } from "./volumes.js";
import { ZonePanel } from "./zones.js";

const REFRESH_MS = 1000;
const WORDS_MS = 100;

const views = new Map<string, PictureView>();
const paths = new PathPanel(() => void refresh());
const volumes = new VolumePanel(() => void refresh());
const zones = new ZonePanel(() => void refresh());
const plan = new PlanPanel(() => void refresh(), (path, clearance) => zones.tell(path, clearance));
const registration = new RegistrationPanel(() => void refresh());
const cement = new CementPanel(() => void refresh());
const alerts = new AlertBar();
new CorridorSearch(() => void refresh());
new HistoryButtons(() => void refresh());

function view(device: string): PictureView {
  let found = views.get(device);
  if (!found) {
    found = new PictureView(device);
    views.set(device, found);
    const ordered = [...views.values()].sort((a, b) => a.device.localeCompare(b.device));
    byId("views").replaceChildren(...ordered.map((one) => one.element));
  }
  return found;
}

function showState(state: LiveState): void {
  for (const [device, input] of Object.entries(state.inputs)) view(device).tell(input);
  // An input that the server no longer lists must not go on looking alive.
  for (const [device, gone] of views) {
    if (!(device in state.inputs)) {
      gone.element.remove();
      views.delete(device);
    }
  }
  document.body.classList.toggle("no-input", views.size === 0);
  paths.tell(state);
  plan.tell(state);
  registration.tell(state);
  cement.tell(state);
  alerts.tell(state);
}

async function showPicture(header: PictureHeader, jpeg: Blob): Promise<void> {
  await view(header.device).show(header, jpeg);
  setText(byId("latency-now"), milliseconds(header.latency_ms));
}

function showConnection(connected: boolean, silentMs: number): void {
  document.body.dataset["connection"] = connected ? "live" : "lost";
  if (!connected) setText(byId("lost-for"), `nothing from the server for ${(silentMs / 1000).toFixed(0)} s`);
}

let refreshing = false;

async function refresh(): Promise<void> {
  if (refreshing) return;
  refreshing = true;
  try {
    const [held, listed, planned, zoned, status, registered] = await Promise.all([
      request<Case>("GET", "/case"),
      request<{ items: Volume[] }>("GET", "/volumes"),
      request<{ items: Path[] }>("GET", "/paths"),
      request<{ items: Zone[] }>("GET", "/zones"),
      request<Status>("GET", "/status"),
      request<RegistrationState>("GET", "/registration"),
    ]);
    volumes.show(held, listed.items, status);
    registration.show(registered);
    paths.show(planned.items);
    zones.show(zoned.items, held.zones_shown);
    const names = new Map(zoned.items.map((zone) => [zone.id, zone.name]));
    plan.show(paths.chosen(), [planned.items, zoned.items, held.active_volume_id, held.epoch], names);
    setText(byId("latency-p50"), milliseconds(status.latency_ms.p50));
    setText(byId("latency-p99"), milliseconds(status.latency_ms.p99));
    setText(byId("version"), `version ${status.version}`);
    setText(byId("epoch"), `registration ${held.epoch}`);
    setText(byId("not-ready"), status.ready ? "" : `▲ Not ready: ${status.reasons.join("; ")}`);
  } catch {
    // The stream tells that the server is away; the lists stay as they were, greyed out with the page.
  } finally {
    refreshing = false;
  }
}

function milliseconds(value: number | null): string {
  return value === null ? "–" : value.toFixed(value < 10 ? 1 : 0);
}

new Stream({ state: showState, picture: showPicture, connection: showConnection });
setInterval(() => void refresh(), REFRESH_MS);
setInterval(() => views.forEach((one) => one.words()), WORDS_MS);
void refresh();
