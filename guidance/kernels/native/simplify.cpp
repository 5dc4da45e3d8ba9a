// Fewer triangles for the same surface: stairs of voxels are smoothed within a bound, then edges are collapsed.
// Source: Taubin, SIGGRAPH 1995 (smoothing that does not shrink); Garland and Heckbert, SIGGRAPH 1997 (quadrics);
// Dey, Edelsbrunner, Guha, Nekhayev, Publ Inst Math 1999 (link condition: what is closed stays closed).
#include <algorithm>
#include <cmath>
#include <queue>

#include "distance.hpp"

namespace guidance {
namespace {

constexpr double kTaubinIn = 0.5, kTaubinOut = -0.53;
constexpr double kPull = 1e-4;       // towards an edge's middle, where the surface does not say
constexpr double kTurnCosine = 0.2;  // a triangle may not turn farther than this

Point cross(const Point& a, const Point& b) {
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}
Point minus(const Point& a, const Point& b) { return {a[0] - b[0], a[1] - b[1], a[2] - b[2]}; }
double dot(const Point& a, const Point& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

// Sum of weighted squared distances to planes.
struct Quadric {
  double xx = 0, xy = 0, xz = 0, yy = 0, yz = 0, zz = 0, x = 0, y = 0, z = 0, one = 0, weight = 0;

  void add_plane(const Point& n, double offset, double w) {
    xx += w * n[0] * n[0], xy += w * n[0] * n[1], xz += w * n[0] * n[2];
    yy += w * n[1] * n[1], yz += w * n[1] * n[2], zz += w * n[2] * n[2];
    x += w * n[0] * offset, y += w * n[1] * offset, z += w * n[2] * offset;
    one += w * offset * offset, weight += w;
  }
  void add(const Quadric& o) {
    xx += o.xx, xy += o.xy, xz += o.xz, yy += o.yy, yz += o.yz, zz += o.zz;
    x += o.x, y += o.y, z += o.z, one += o.one, weight += o.weight;
  }
  double at(const Point& p) const {
    return p[0] * (xx * p[0] + 2.0 * (xy * p[1] + xz * p[2] + x)) + p[1] * (yy * p[1] + 2.0 * (yz * p[2] + y)) +
           p[2] * (zz * p[2] + 2.0 * z) + one;
  }
  // Where it is least, drawn a little to `middle`.
  Point least(const Point& middle) const {
    const double pull = kPull * (xx + yy + zz) + 1e-30;
    const double a = xx + pull, d = yy + pull, f = zz + pull, b = xy, c = xz, e = yz;
    const Point right{pull * middle[0] - x, pull * middle[1] - y, pull * middle[2] - z};
    const double A = d * f - e * e, B = c * e - b * f, C = b * e - c * d, determinant = a * A + b * B + c * C;
    const double D = a * f - c * c, E = b * c - a * e, F = a * d - b * b;
    return {(A * right[0] + B * right[1] + C * right[2]) / determinant,
            (B * right[0] + D * right[1] + E * right[2]) / determinant,
            (C * right[0] + E * right[1] + F * right[2]) / determinant};
  }
};

struct Collapse {
  double cost;
  std::int32_t a, b;
  std::uint32_t version_a, version_b;
  Point place;
  bool operator<(const Collapse& o) const { return cost > o.cost; }
};

class Simplifier {
 public:
  Simplifier(const TriangleMesh& mesh, const SimplifyRules& rules)
      : rules_(rules), points_(mesh.points), triangles_(mesh.triangles), around_(mesh.points.size()) {
    // Numbers near zero keep the quadrics' digits.
    for (const Point& p : points_)
      for (std::size_t axis = 0; axis < 3; ++axis) center_[axis] += p[axis] / static_cast<double>(points_.size());
    for (Point& p : points_) p = minus(p, center_);
    for (std::size_t n = 0; n < triangles_.size(); ++n)
      for (const std::int32_t vertex : triangles_[n]) around_[index(vertex)].push_back(static_cast<std::int32_t>(n));
  }

  void smooth() {
    const std::vector<Point> original = points_;
    std::vector<Point> moved(points_.size());
    for (int round = 0; round < 2 * rules_.smoothing; ++round) {
      const double factor = round % 2 == 0 ? kTaubinIn : kTaubinOut;
      for (std::size_t v = 0; v < points_.size(); ++v) {
        Point sum{};
        for (const std::int32_t t : around_[v])
          for (const std::int32_t other : triangles_[index(t)])
            for (std::size_t axis = 0; axis < 3; ++axis) sum[axis] += points_[index(other)][axis];
        // Each neighbour is counted twice, the point itself once per triangle.
        const double count = static_cast<double>(around_[v].size());
        for (std::size_t axis = 0; axis < 3; ++axis) {
          const double mean = (sum[axis] - count * points_[v][axis]) / (2.0 * count);
          moved[v][axis] = points_[v][axis] + factor * (mean - points_[v][axis]);
        }
        const Point step = minus(moved[v], original[v]);
        const double length = std::sqrt(dot(step, step));
        if (length > rules_.smoothing_mm)
          for (std::size_t axis = 0; axis < 3; ++axis)
            moved[v][axis] = original[v][axis] + step[axis] * (rules_.smoothing_mm / length);
      }
      points_.swap(moved);
    }
  }

  void collapse() {
    quadrics_.assign(points_.size(), {});
    versions_.assign(points_.size(), 0);
    marks_.assign(points_.size(), 0);
    for (const auto& t : triangles_) {
      const Point& a = points_[index(t[0])];
      Point normal = cross(minus(points_[index(t[1])], a), minus(points_[index(t[2])], a));
      const double twice = std::sqrt(dot(normal, normal));
      if (twice <= 0.0) continue;
      for (double& part : normal) part /= twice;
      for (const std::int32_t vertex : t) quadrics_[index(vertex)].add_plane(normal, -dot(normal, a), twice);
    }
    for (const auto& t : triangles_)
      for (std::size_t n = 0; n < 3; ++n)
        if (t[n] < t[(n + 1) % 3]) propose(t[n], t[(n + 1) % 3]);
    std::size_t left = triangles_.size();
    while (!queue_.empty() && left > rules_.most_triangles) {
      const Collapse next = queue_.top();
      queue_.pop();
      if (versions_[index(next.a)] != next.version_a || versions_[index(next.b)] != next.version_b) continue;
      if (!may(next)) continue;
      apply(next);
      left -= 2;
    }
  }

  TriangleMesh result() const {
    TriangleMesh made;
    std::vector<std::int32_t> number(points_.size(), -1);
    for (const auto& t : triangles_) {
      if (t[0] < 0) continue;
      std::array<std::int32_t, 3> renamed{};
      for (std::size_t n = 0; n < 3; ++n) {
        std::int32_t& at = number[index(t[n])];
        if (at < 0) {
          at = static_cast<std::int32_t>(made.points.size());
          const Point& p = points_[index(t[n])];
          made.points.push_back({p[0] + center_[0], p[1] + center_[1], p[2] + center_[2]});
        }
        renamed[n] = at;
      }
      made.triangles.push_back(renamed);
    }
    return made;
  }

 private:
  static std::size_t index(std::int32_t n) { return static_cast<std::size_t>(n); }

  void propose(std::int32_t a, std::int32_t b) {
    Quadric sum = quadrics_[index(a)];
    sum.add(quadrics_[index(b)]);
    const Point &p = points_[index(a)], &q = points_[index(b)];
    const Point place = sum.least({0.5 * (p[0] + q[0]), 0.5 * (p[1] + q[1]), 0.5 * (p[2] + q[2])});
    const double mean = std::max(sum.at(place), 0.0) / std::max(sum.weight, 1e-30);
    if (mean > rules_.deviation_mm * rules_.deviation_mm) return;
    const Point edge = minus(p, q);
    // Of flat places the short edges first, so that triangles stay fat.
    queue_.push({mean + 1e-6 * dot(edge, edge), a, b, versions_[index(a)], versions_[index(b)], place});
  }

  std::vector<std::int32_t> neighbours(std::int32_t v) const {
    std::vector<std::int32_t> found;
    for (const std::int32_t t : around_[index(v)])
      for (const std::int32_t other : triangles_[index(t)])
        if (other != v && std::find(found.begin(), found.end(), other) == found.end()) found.push_back(other);
    return found;
  }

  bool turns(std::int32_t v, std::int32_t other, const Point& place) const {
    for (const std::int32_t n : around_[index(v)]) {
      const auto& t = triangles_[index(n)];
      if (t[0] == other || t[1] == other || t[2] == other) continue;
      std::size_t m = 0;
      while (t[m] != v) ++m;
      const Point &b = points_[index(t[(m + 1) % 3])], &c = points_[index(t[(m + 2) % 3])];
      const Point &old = points_[index(v)], along = minus(c, b);
      const Point before = cross(minus(b, old), along), after = cross(minus(b, place), along);
      const double cosine = dot(before, after), before2 = dot(before, before), after2 = dot(after, after);
      const double edge2 = dot(along, along);
      // Neither turned over nor a sliver without a height.
      if (after2 <= 1e-8 * edge2 * edge2) return true;
      if (before2 > 0.0 && cosine <= kTurnCosine * std::sqrt(before2 * after2)) return true;
    }
    return false;
  }

  bool may(const Collapse& c) {
    ++mark_;
    for (const std::int32_t v : neighbours(c.a)) marks_[index(v)] = mark_;
    int common = 0;
    for (const std::int32_t v : neighbours(c.b))
      if (marks_[index(v)] == mark_) {
        ++common;
        if (around_[index(v)].size() <= 3) return false;
      }
    return common == 2 && !turns(c.a, c.b, c.place) && !turns(c.b, c.a, c.place);
  }

  void apply(const Collapse& c) {
    auto& kept = around_[index(c.a)];
    for (const std::int32_t n : around_[index(c.b)]) {
      auto& t = triangles_[index(n)];
      if (t[0] == c.a || t[1] == c.a || t[2] == c.a) {
        for (const std::int32_t v : t)
          if (v != c.b) std::erase(around_[index(v)], n);
        t = {-1, -1, -1};
        continue;
      }
      for (std::int32_t& v : t)
        if (v == c.b) v = c.a;
      kept.push_back(n);
    }
    around_[index(c.b)].clear();
    points_[index(c.a)] = c.place;
    quadrics_[index(c.a)].add(quadrics_[index(c.b)]);
    ++versions_[index(c.a)];
    ++versions_[index(c.b)];
    for (const std::int32_t v : neighbours(c.a)) propose(c.a, v);
  }

  const SimplifyRules rules_;
  Point center_{};
  std::vector<Point> points_;
  std::vector<std::array<std::int32_t, 3>> triangles_;
  std::vector<std::vector<std::int32_t>> around_;
  std::vector<Quadric> quadrics_;
  std::vector<std::uint32_t> versions_, marks_;
  std::uint32_t mark_ = 0;
  std::priority_queue<Collapse> queue_;
};

}  // namespace

// A closed surface stays closed. Collapses stop at `most_triangles`, or where the next would cost more than the
// deviation.
TriangleMesh simplified(const TriangleMesh& mesh, const SimplifyRules& rules) {
  Simplifier simplifier(mesh, rules);
  simplifier.smooth();
  simplifier.collapse();
  return simplifier.result();
}

}  // namespace guidance
