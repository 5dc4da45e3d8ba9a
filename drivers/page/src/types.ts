// The JSON shapes of the contract that the page reads; docs/schemas has them in full.

export type InputState = "connected" | "streaming" | "valid" | "held" | "silent" | "frozen_clock";
export type GeometryState = "trusted" | "degraded" | "withheld" | "absent";
export type Vector3 = [number, number, number];

export interface PathPlace {
  id: string;
  drawn: boolean;
}

export interface InputGeometry {
  state: InputState;
  geometry_state: GeometryState;
  reason: string;
  frame_number: number | null;
  age_ms: number | null;
  paths: PathPlace[];
}

export interface LiveState {
  inputs: Record<string, InputGeometry>;
}

export interface OverlayVector {
  kind: "line" | "text";
  color: string;
  points: number[];
  width_px: number;
  closed: boolean;
  text: string;
  size_px: number;
  path_id: string;
}

export interface PictureHeader {
  device: string;
  sequence: number;
  frame_number: number | null;
  width: number;
  height: number;
  latency_ms: number | null;
  age_ms: number;
  state: InputState;
  geometry_state: GeometryState;
  reason: string;
  epoch: number;
  overlay: OverlayVector[];
}

export interface Path {
  id: string;
  entry_lps_mm: Vector3;
  target_lps_mm: Vector3;
  diameter_mm: number;
  label: string;
  color: string;
  instrument: string;
  approach: string;
  in_active_frame: boolean;
}

export interface Volume {
  id: string;
  description: string;
  patient_id: string;
  state: "receiving" | "ready" | "refused";
  active: boolean;
  same_patient: boolean | null;
  findings: { code: string; severity: "warning" | "error"; message: string }[];
  instance_count: number;
  shape_kji: Vector3 | null;
}

export interface Case {
  active_volume_id: string | null;
  epoch: number;
  shared_frame_confirmed: boolean;
  question: { volume_id: string; text: string } | null;
}

export interface Status {
  version: string;
  ready: boolean;
  reasons: string[];
  volume: { id: string; name: string; kind: "real" | "procedural" | "unknown" } | null;
  inputs: Record<string, { peer: string; frames: number; dropped: number; rate_hz: number | null }>;
  latency_ms: { now: number | null; p50: number | null; p99: number | null };
}

export interface Problem {
  detail: string;
  mend?: string;
  errors?: { field: string; message: string }[];
}
