// One tube in one view: its visible part and the arcs that bound its shadow; what geometry/tube.py specifies.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numbers>

#include "tubes.hpp"

namespace guidance {

constexpr double kPi = std::numbers::pi;
constexpr double kNearestMm = 10.0;
constexpr double kSafeMm = 1.0;  // divisor for what is behind and not drawn

struct Vec {
  double x, y, z;
};
struct Uv {
  double u, v;
};

inline Vec operator+(const Vec& a, const Vec& b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
inline Vec operator-(const Vec& a, const Vec& b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
inline Vec operator*(double s, const Vec& a) { return {s * a.x, s * a.y, s * a.z}; }
inline double dot(const Vec& a, const Vec& b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
inline Uv operator+(const Uv& a, const Uv& b) { return {a.u + b.u, a.v + b.v}; }
inline Uv operator-(const Uv& a, const Uv& b) { return {a.u - b.u, a.v - b.v}; }
inline Uv operator*(double s, const Uv& a) { return {s * a.u, s * a.v}; }

// u w, v w and w of points (with_origin) and of directions.
struct Camera {
  explicit Camera(const std::array<double, 12>& m) : p(m) {
    const double a = m[0], b = m[1], c = m[2], d = m[4], e = m[5], f = m[6], g = m[8], h = m[9], i = m[10];
    const double x = e * i - f * h, y = f * g - d * i, z = d * h - e * g;
    const double whole = a * x + b * y + c * z;
    focal_px = std::sqrt(std::abs(whole));
    source = {(m[3] * x + m[7] * (c * h - b * i) + m[11] * (b * f - c * e)) / -whole,
              (m[3] * y + m[7] * (a * i - c * g) + m[11] * (c * d - a * f)) / -whole,
              (m[3] * z + m[7] * (b * g - a * h) + m[11] * (a * e - b * d)) / -whole};
  }
  Vec direction(const Vec& v) const {
    return {p[0] * v.x + p[1] * v.y + p[2] * v.z, p[4] * v.x + p[5] * v.y + p[6] * v.z,
            p[8] * v.x + p[9] * v.y + p[10] * v.z};
  }
  Vec point(const Vec& v) const { return direction(v) + Vec{p[3], p[7], p[11]}; }

  std::array<double, 12> p;
  double focal_px;
  Vec source;
};

inline Uv pixel_of(const Vec& uvw) {
  const double w = std::max(uvw.z, kSafeMm);
  return {uvw.x / w, uvw.y / w};
}

// One tube on the picture: its visible part, and the two arcs of its rims that bound its shadow.
struct Tube {
  Tube(const void* numbers, std::size_t index, const Camera& camera) {
    double n[kTubeNumbers];
    std::memcpy(n, static_cast<const std::uint8_t*>(numbers) + sizeof n * index, sizeof n);
    const Vec entry_mm{n[0], n[1], n[2]}, axis_mm{n[3], n[4], n[5]}, side_mm{n[6], n[7], n[8]},
        other_mm{n[9], n[10], n[11]};
    radius_mm = n[12];
    length_mm = n[13];
    entry = camera.point(entry_mm);
    axis = camera.direction(axis_mm);
    side = camera.direction(side_mm);
    other = camera.direction(other_mm);
    entry_w = entry.z;
    target_w = camera.point(entry_mm + length_mm * axis_mm).z;
    cut();
    radius_px = radius_mm * camera.focal_px / std::max(std::min(entry_w, target_w), kNearestMm);
    const Vec to_source = camera.source - entry_mm;
    bound(dot(axis_mm, to_source), dot(side_mm, to_source), dot(other_mm, to_source));
  }

  bool drawn() const { return stop > start; }
  Vec on_axis(double depth_mm) const { return entry + depth_mm * axis; }
  Uv rim(double offset, double angle) const {
    return pixel_of(entry + offset * axis + (radius_mm * std::cos(angle)) * side +
                    (radius_mm * std::sin(angle)) * other);
  }

  Vec entry, axis, side, other;
  double radius_mm, length_mm, entry_w, target_w, radius_px;
  double start, stop;  // mm along the axis: the whole cross-section is at least kNearestMm deep between them
  double from_a, from_b, sweep_a, sweep_b, offset_a, offset_b;

 private:
  void cut() {
    const double margin = kNearestMm + radius_mm * std::sqrt(std::max(1.0 - axis.z * axis.z, 0.0));
    const bool near_entry = entry_w < margin, near_target = target_w < margin;
    start = 0.0;
    stop = length_mm;
    if (near_entry && near_target) stop = 0.0;
    if (near_entry && !near_target) start = (margin - entry_w) / axis.z;
    if (near_target && !near_entry) stop = (margin - entry_w) / axis.z;
  }

  void bound(double along, double x, double y) {
    const double off_axis = std::hypot(x, y), towards = std::atan2(y, x);
    const bool entry_face = along<start, target_face = along> stop;
    double half = std::acos(std::min(radius_mm / std::max(off_axis, 1e-12), 1.0));
    sweep_a = 2.0 * half - (entry_face ? 2.0 * kPi : 0.0);
    sweep_b = (target_face ? 2.0 * kPi : 0.0) - 2.0 * half;
    offset_a = start;
    offset_b = stop;
    if (off_axis <= radius_mm) {
      // Down the barrel the nearer disc hides all the rest: both arcs are halves of its rim.
      half = kPi / 2.0;
      sweep_a = sweep_b = kPi;
      offset_a = target_face ? stop : start;
      offset_b = entry_face ? start : stop;
    }
    from_a = towards - half;
    from_b = towards + half;
  }
};

}  // namespace guidance
