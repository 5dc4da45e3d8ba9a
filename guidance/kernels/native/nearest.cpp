// Nearest points on a triangle surface, by a balanced tree of boxes in which a node's children are 2n + 1 and 2n + 2.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <thread>

#include "distance.hpp"

namespace guidance {
namespace {

constexpr std::size_t kLeaf = 4;
constexpr double kSamePlace = 1e-8;  // mm^2

double dot(const Point& a, const Point& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }
Point minus(const Point& a, const Point& b) { return {a[0] - b[0], a[1] - b[1], a[2] - b[2]}; }
Point along(const Point& a, const Point& b, double part, const Point& c, double other) {
  return {a[0] + part * b[0] + other * c[0], a[1] + part * b[1] + other * c[1], a[2] + part * b[2] + other * c[2]};
}

// The corner (0, 1, 2) that the nearest point is; or that it is on an edge, or within.
enum Part { kCornerA, kCornerB, kCornerC, kEdge, kFace };

// Source: Ericson, Real-Time Collision Detection (2005), section 5.1.5.
Point on_triangle(const Point& p, const Point& a, const Point& ab, const Point& ac, Part& part) {
  const Point ap = minus(p, a);
  const double d1 = dot(ab, ap), d2 = dot(ac, ap);
  part = kCornerA;
  if (d1 <= 0.0 && d2 <= 0.0) return a;
  const double abab = dot(ab, ab), abac = dot(ab, ac), acac = dot(ac, ac);
  const double d3 = d1 - abab, d4 = d2 - abac;
  part = kCornerB;
  if (d3 >= 0.0 && d4 <= d3) return along(a, ab, 1.0, ac, 0.0);
  const double d5 = d1 - abac, d6 = d2 - acac;
  part = kCornerC;
  if (d6 >= 0.0 && d5 <= d6) return along(a, ab, 0.0, ac, 1.0);
  part = kEdge;
  const double vc = d1 * d4 - d3 * d2;
  if (vc <= 0.0 && d1 >= 0.0 && d3 <= 0.0) return along(a, ab, d1 / (d1 - d3), ac, 0.0);
  const double vb = d5 * d2 - d1 * d6;
  if (vb <= 0.0 && d2 >= 0.0 && d6 <= 0.0) return along(a, ab, 0.0, ac, d2 / (d2 - d6));
  const double va = d3 * d6 - d5 * d4;
  if (va <= 0.0 && d4 - d3 >= 0.0 && d5 - d6 >= 0.0) {
    const double share = (d4 - d3) / ((d4 - d3) + (d5 - d6));
    return along(a, ab, 1.0 - share, ac, share);
  }
  part = kFace;
  const double scale = 1.0 / (va + vb + vc);
  return along(a, ab, vb * scale, ac, vc * scale);
}

// The angle that a triangle has at its nearest point.
double angle_at(Part part, const Point& ab, const Point& ac) {
  constexpr double kPi = 3.14159265358979323846;
  if (part == kFace) return 2.0 * kPi;
  if (part == kEdge) return kPi;
  const Point bc = minus(ac, ab);
  const auto between = [](const Point& u, const Point& v, double sign) {
    const double cosine = sign * dot(u, v) / std::sqrt(std::max(dot(u, u) * dot(v, v), 1e-300));
    return std::acos(std::clamp(cosine, -1.0, 1.0));
  };
  if (part == kCornerA) return between(ab, ac, 1.0);
  return part == kCornerB ? between(ab, bc, -1.0) : between(ac, bc, 1.0);
}

}  // namespace

void in_parallel(std::size_t count, unsigned threads, const std::function<void(std::size_t)>& work) {
  std::atomic<std::size_t> next{0};
  const auto run = [&] {
    for (std::size_t n = next++; n < count; n = next++) work(n);
  };
  std::vector<std::thread> others;
  const std::size_t helpers = std::min<std::size_t>(threads, count);
  for (std::size_t n = 1; n < helpers; ++n) others.emplace_back(run);
  run();
  for (std::thread& other : others) other.join();
}

SurfaceTree::SurfaceTree(const double* points, std::size_t point_count, const std::int32_t* triangles,
                         std::size_t triangle_count) {
  low_.fill(std::numeric_limits<double>::infinity());
  high_.fill(-std::numeric_limits<double>::infinity());
  for (std::size_t n = 0; n < point_count; ++n)
    for (std::size_t axis = 0; axis < 3; ++axis) {
      low_[axis] = std::min(low_[axis], points[3 * n + axis]);
      high_[axis] = std::max(high_[axis], points[3 * n + axis]);
    }
  // Single precision is enough once the patient's place in the room is taken off.
  for (std::size_t axis = 0; axis < 3; ++axis) center_[axis] = 0.5 * (low_[axis] + high_[axis]);
  corners_.resize(triangle_count);
  for (std::size_t n = 0; n < triangle_count; ++n)
    for (std::size_t corner = 0; corner < 3; ++corner)
      for (std::size_t axis = 0; axis < 3; ++axis)
        corners_[n][3 * corner + axis] =
            static_cast<float>(points[3 * static_cast<std::size_t>(triangles[3 * n + corner]) + axis] - center_[axis]);
  while ((kLeaf << depth_) < triangle_count) ++depth_;
  boxes_.resize((std::size_t{2} << depth_) - 1);
  if (triangle_count > 0) build(0, 0, triangle_count, depth_, triangle_count > 20000 ? 2 : 0);
}

void SurfaceTree::build(std::size_t node, std::size_t first, std::size_t last, int depth, int parallel) {
  Box& box = boxes_[node];
  const float infinity = std::numeric_limits<float>::infinity();
  std::fill_n(box.low, 3, infinity);
  std::fill_n(box.high, 3, -infinity);
  for (std::size_t n = first; n < last; ++n)
    for (std::size_t m = 0; m < 9; ++m) {
      box.low[m % 3] = std::min(box.low[m % 3], corners_[n][m]);
      box.high[m % 3] = std::max(box.high[m % 3], corners_[n][m]);
    }
  if (depth == 0) return;
  std::size_t axis = 0;
  for (std::size_t m = 1; m < 3; ++m)
    if (box.high[m] - box.low[m] > box.high[axis] - box.low[axis]) axis = m;
  const auto middle_of = [axis](const std::array<float, 9>& t) { return t[axis] + t[axis + 3] + t[axis + 6]; };
  const std::size_t middle = first + (last - first) / 2;
  const auto begin = corners_.begin();
  using Step = std::vector<std::array<float, 9>>::difference_type;
  std::nth_element(begin + static_cast<Step>(first), begin + static_cast<Step>(middle), begin + static_cast<Step>(last),
                   [&](const auto& a, const auto& b) { return middle_of(a) < middle_of(b); });
  if (parallel > 0) {
    std::thread other([&] { build(2 * node + 1, first, middle, depth - 1, parallel - 1); });
    build(2 * node + 2, middle, last, depth - 1, parallel - 1);
    other.join();
  } else {
    build(2 * node + 1, first, middle, depth - 1, 0);
    build(2 * node + 2, middle, last, depth - 1, 0);
  }
}

Nearest SurfaceTree::nearest(const Point& place, double most_mm) const {
  const Point p = minus(place, center_);
  const float x = static_cast<float>(p[0]), y = static_cast<float>(p[1]), z = static_cast<float>(p[2]);
  const auto squared_to = [&](std::size_t node) {
    const Box& box = boxes_[node];
    const float dx = std::max(std::max(box.low[0] - x, x - box.high[0]), 0.0F);
    const float dy = std::max(std::max(box.low[1] - y, y - box.high[1]), 0.0F);
    const float dz = std::max(std::max(box.low[2] - z, z - box.high[2]), 0.0F);
    return dx * dx + dy * dy + dz * dz;
  };
  struct Open {
    std::size_t node, first, last;
    float squared;
    int depth;
  };
  // Boxes are in single precision: a little slack keeps what a rounding would drop.
  const auto reach_of = [](double squared) { return static_cast<float>(squared * 1.000001 + 1e-9); };
  double best = most_mm * most_mm * 1.000001 + 1e-12;
  float reach = reach_of(best);
  // Inside or outside: the normals of all triangles at the nearest point, by their angles there.
  // Source: Baerentzen and Aanaes, IEEE Trans Vis Comput Graph 2005;11:243.
  Point found{}, normals{};
  bool any = false;
  std::array<Open, 64> stack;
  std::size_t size = 0;
  stack[size++] = {0, 0, corners_.size(), squared_to(0), depth_};
  while (size > 0) {
    Open open = stack[--size];
    if (open.squared > reach && any) continue;
    while (open.depth > 0) {
      const std::size_t middle = open.first + (open.last - open.first) / 2;
      Open near{2 * open.node + 1, open.first, middle, squared_to(2 * open.node + 1), open.depth - 1};
      Open far{2 * open.node + 2, middle, open.last, squared_to(2 * open.node + 2), open.depth - 1};
      if (far.squared < near.squared) std::swap(near, far);
      if (far.squared <= reach) stack[size++] = far;
      open = near;
    }
    if (open.squared > reach) continue;
    for (std::size_t n = open.first; n < open.last; ++n) {
      const auto& t = corners_[n];
      const Point a{t[0], t[1], t[2]}, ab{double(t[3]) - t[0], double(t[4]) - t[1], double(t[5]) - t[2]},
          ac{double(t[6]) - t[0], double(t[7]) - t[1], double(t[8]) - t[2]};
      Part part;
      const Point point = on_triangle(p, a, ab, ac, part), away = minus(p, point);
      const double squared = dot(away, away);
      const double slack = 1e-9 * (squared + 1e-6);
      if (squared > best + (any ? slack : 0.0)) continue;
      if (any && squared >= best - slack) {
        const Point apart = minus(point, found);
        if (dot(apart, apart) > kSamePlace) continue;  // as near, but elsewhere: the side is the same
      } else {
        normals = {};
        found = point;
      }
      const Point normal{ab[1] * ac[2] - ab[2] * ac[1], ab[2] * ac[0] - ab[0] * ac[2], ab[0] * ac[1] - ab[1] * ac[0]};
      const double weight = angle_at(part, ab, ac) / std::sqrt(std::max(dot(normal, normal), 1e-300));
      for (std::size_t axis = 0; axis < 3; ++axis) normals[axis] += weight * normal[axis];
      best = any ? std::min(best, squared) : squared;
      any = true;
      reach = reach_of(best);
    }
  }
  if (!any) return nearest(place, std::numeric_limits<double>::infinity());
  return {{found[0] + center_[0], found[1] + center_[1], found[2] + center_[2]},
          std::sqrt(best),
          dot(minus(p, found), normals) < 0.0};
}

}  // namespace guidance
