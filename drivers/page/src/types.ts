// The JSON shapes of the contract that the page reads; docs/schemas has them in full.

export type InputState = "connected" | "streaming" | "valid" | "held" | "silent" | "frozen_clock";
export type GeometryState = "trusted" | "degraded" | "withheld" | "absent";
export type Vector3 = [number, number, number];

export interface PathPlace {
  id: string;
  drawn: boolean;
}

export type Stage = "planned" | "placed" | "verified" | "screw_in" | "cemented";

export interface Finding {
  code: string;
  severity: "warning" | "error";
  message: string;
}

export interface InputGeometry {
  state: InputState;
  geometry_state: GeometryState;
  reason: string;
  frame_number: number | null;
  age_ms: number | null;
  pixel_from_patient: number[] | null;
  paths: PathPlace[];
  check: ImageCheck;
  instruments: { path_id: string; text: string }[];
}

export interface ImageCheck {
  state: "unchecked" | "cannot_tell" | "agrees" | "warning" | "contradicts";
  reason: string;
  residual_mm: number | null;
  residual_px: number | null;
  breathing_mm: number | null;
  registration_offered: boolean;
}

export interface RegistrationState {
  registered: boolean;
  residual_px: number | null;
  inputs: string[];
  offered: boolean;
  running: boolean;
}

export interface Registered {
  accepted: boolean;
  reason: string;
}

export interface LiveState {
  inputs: Record<string, InputGeometry>;
  cement: Cement;
  alerts: Alert[];
}

export type CementState = "idle" | "tracking" | "paused" | "lost";
export type Priority = "none" | "low" | "medium" | "high";

export interface CementSite {
  zone_id: string;
  name: string;
  kind: "keep_out" | "target";
  distance_mm: number | null;
  status: "clear" | "approaching" | "contact_possible" | "contact" | null;
  priority: Priority;
  text: string;
}

export interface Cement {
  state: CementState;
  reason: string;
  dimensions: "2d" | "3d" | null;
  area_mm2: number | null;
  volume_ml: number | null;
  volume_low_ml: number | null;
  volume_high_ml: number | null;
  front_speed_mm_s: number | null;
  sites: CementSite[];
  advice: { action: "stop" | "caution" | "clear" | null; text: string };
  brand: string | null;
  opacity_per_mm: number | null;
  balloon: boolean;
  elapsed_s: number | null;
  mixed_s: number | null;
  working_time: { phase: string; left_s: number | null; reason: string } | null;
  injected_ml: number | null;
  balloon_ml: number | null;
  outside_ml: number | null;
  inputs: Record<string, { area_px: number | null; mm_per_px: number | null; blind_share: number | null }>;
  reasons: Record<string, string>;
}

export interface CementBrand {
  brand: string;
  name: string;
}

export interface Alert {
  id: string;
  priority: Priority;
  text: string;
  present: boolean;
  acknowledged_by: string | null;
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
  zone_id: string;
  cement: boolean;
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
  stage: Stage;
  next_stages: Stage[];
  permitted_zone_ids: string[];
  in_active_frame: boolean;
}

export interface Zone {
  id: string;
  name: string;
  site: string;
  side: "left" | "right" | "midline" | null;
  kind: "keep_out" | "target";
  level: string;
  color: string;
  shown: boolean;
  in_active_frame: boolean;
}

export interface ZoneClearance {
  zone_id: string;
  name: string;
  min_distance_mm: number;
  at_depth_mm: number;
  permitted: boolean;
}

export interface Clearance {
  length_mm: number;
  zones: ZoneClearance[];
  paths: { path_id: string; label: string; min_distance_mm: number }[];
  skin_to_bone_mm: number | null;
  bone_to_target_mm: number | null;
  target_to_far_cortex_mm: number | null;
  bone_margin_mm: number | null;
  margin_mm: number | null;
  tip_bone: { length_mm: number; mean_hu: number; bone_part: number } | null;
  mediolateral_deg: number;
  craniocaudal_deg: number;
  approach: { id: string; name: string; reason: string };
  suggested_length_mm: number | null;
  findings: Finding[];
}

export interface View {
  kind: "bulls_eye" | "progression" | "en_face";
  primary_deg: number;
  secondary_deg: number;
  reachable: boolean;
  reason: string;
  zone_id: string;
}

export interface Views {
  views: View[];
  findings: Finding[];
}

export interface Corridor {
  level: string;
  diameter_mm: number;
  exists: boolean;
  reason: string;
  entry_lps_mm: Vector3 | null;
  target_lps_mm: Vector3 | null;
  margin_mm: number | null;
  largest_diameter_mm: number | null;
  length_mm: number | null;
  findings: Finding[];
}

export interface Volume {
  id: string;
  description: string;
  patient_id: string;
  state: "receiving" | "ready" | "refused";
  active: boolean;
  same_patient: boolean | null;
  findings: Finding[];
  instance_count: number;
  shape_kji: Vector3 | null;
}

export interface Case {
  active_volume_id: string | null;
  epoch: number;
  shared_frame_confirmed: boolean;
  zones_shown: boolean;
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
