// The outline of a surface's shadow, exact for its triangles.
//
// Every triangle's projected border, run in the direction that encloses it positively, adds up to closed curves whose
// winding number counts the triangles over a pixel. Inside a smooth patch the borders cancel: what is left are the
// contour edges, where the surface turns away from the source. Cut at their crossings, a piece of them bounds the
// shadow where nothing covers the one side of it and something the other; all other pieces are folds inside.
#include "silhouette.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "kernels.hpp"
#include "tube_geometry.hpp"

namespace guidance {
namespace {

constexpr double kTolerancePx = 0.1;  // by which a drawn outline may miss the surface's own
// How far beside a piece its sides are looked at: more than doubles lose on a picture, less than a surface's slivers.
constexpr double kBesidePx = 1e-7;
constexpr double kTouchPx = 1e-6;  // what is nearer to an edge lies on it
constexpr double kRimPx = 4.0;     // around the picture, on top of the line's width
constexpr std::size_t kEdgesPerCrossingBand = 4, kEdgesPerRayBand = 24;  // pairs cost more than a longer ray
constexpr std::size_t kMostBands = 1024;
constexpr std::size_t kManyEdges = 1000;  // of one contour; with more, an opening less than a pixel high may be missed
constexpr double kEnd = 1e-9;             // a cut nearer to an edge's end, in parts of the edge, is that end
constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <class T>
T at(const void* numbers, std::size_t index) {
  T number;
  std::memcpy(&number, static_cast<const std::uint8_t*>(numbers) + sizeof number * index, sizeof number);
  return number;
}

inline double cross(const Uv& a, const Uv& b) { return a.u * b.v - a.v * b.u; }
inline double dot(const Uv& a, const Uv& b) { return a.u * b.u + a.v * b.v; }

// 1 where the source sees the triangle's outer side, -1 its inner side, 0 where it sees it edge-on.
GUIDANCE_CLONES void facings(const double* x, const double* y, const double* z, const double* d, std::size_t count,
                             double source_x, double source_y, double source_z, std::int8_t* facing) {
  for (std::size_t i = 0; i < count; ++i) {
    const double side = x[i] * source_x + y[i] * source_y + z[i] * source_z + d[i];
    facing[i] = static_cast<std::int8_t>((side > 0.0) - (side < 0.0));
  }
}

// Sum of the turns of what crosses the ray from (u, v) towards larger u.
GUIDANCE_CLONES int winding_of(const double* from_v, const double* to_v, const double* from_u, const double* slope,
                               const std::int32_t* turn, std::size_t count, double u, double v) {
  std::int32_t sum = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const bool crosses = (from_v[i] <= v) != (to_v[i] <= v);
    const bool beyond = from_u[i] + (v - from_v[i]) * slope[i] > u;
    sum += crosses && beyond ? turn[i] : 0;
  }
  return sum;
}

// The picture and what may show on it of a line beside it.
struct Frame {
  double left, top, right, bottom;
};

// An edge of the contour on the picture: `net` sheets more on its left than on its right.
struct ContourEdge {
  Uv a, b;
  std::int32_t from, to;  // nodes
  std::int32_t net;
  double first, last;  // the part of it on the picture; first > last for none
};

struct Cut {
  std::int32_t edge;
  std::int32_t node;
  double part;
};

struct Piece {
  Uv a, b;
  std::int32_t from, to;
};

// Cuts first .. last, parts of a - b, to what lies in the frame.
void clip(const Frame& frame, ContourEdge& edge) {
  edge.first = 0.0;
  edge.last = 1.0;
  const auto limit = [&](double start, double step, double low, double high) {
    if (step == 0.0) {
      if (start < low || start > high) edge.last = -1.0;
      return;
    }
    const double one = (low - start) / step, other = (high - start) / step;
    edge.first = std::max(edge.first, std::min(one, other));
    edge.last = std::min(edge.last, std::max(one, other));
  };
  limit(edge.a.u, edge.b.u - edge.a.u, frame.left, frame.right);
  limit(edge.a.v, edge.b.v - edge.a.v, frame.top, frame.bottom);
}

// Edges by rows of the picture: who may cross a ray, and who may cross each other.
class Bands {
 public:
  Bands(const std::vector<ContourEdge>& edges, double top, double bottom, std::size_t edges_per_band)
      : top_(top), count_(std::clamp<std::size_t>(edges.size() / edges_per_band, 1, kMostBands)) {
    per_px_ = bottom > top ? static_cast<double>(count_) / (bottom - top) : 0.0;
    ends_.assign(count_ + 1, 0);
    for (const ContourEdge& edge : edges)
      for (std::size_t band = first_of(edge); band <= last_of(edge); ++band) ++ends_[band + 1];
    std::partial_sum(ends_.begin(), ends_.end(), ends_.begin());
    const std::size_t total = ends_[count_];
    edge_.resize(total);
    turn_.resize(total);
    for (auto* numbers : {&from_v_, &to_v_, &from_u_, &slope_}) numbers->resize(total);
    std::vector<std::size_t> next(ends_.begin(), ends_.end() - 1);
    for (std::size_t index = 0; index < edges.size(); ++index) {
      const ContourEdge& edge = edges[index];
      const Uv way = edge.b - edge.a;
      for (std::size_t band = first_of(edge); band <= last_of(edge); ++band) {
        const std::size_t place = next[band]++;
        edge_[place] = static_cast<std::int32_t>(index);
        from_v_[place] = edge.a.v;
        to_v_[place] = edge.b.v;
        from_u_[place] = edge.a.u;
        slope_[place] = way.v != 0.0 ? way.u / way.v : 0.0;
        turn_[place] = way.v > 0.0 ? edge.net : -edge.net;
      }
    }
  }

  std::size_t count() const { return count_; }
  std::size_t band_of(double v) const {
    const double band = (v - top_) * per_px_;
    return band > 0.0 ? std::min(static_cast<std::size_t>(band), count_ - 1) : 0;
  }
  const std::int32_t* begin(std::size_t band) const { return edge_.data() + ends_[band]; }
  const std::int32_t* end(std::size_t band) const { return edge_.data() + ends_[band + 1]; }
  int winding(const Uv& point) const {
    const std::size_t band = band_of(point.v), first = ends_[band];
    return winding_of(from_v_.data() + first, to_v_.data() + first, from_u_.data() + first, slope_.data() + first,
                      turn_.data() + first, ends_[band + 1] - first, point.u, point.v);
  }

 private:
  std::size_t first_of(const ContourEdge& edge) const { return band_of(std::min(edge.a.v, edge.b.v)); }
  std::size_t last_of(const ContourEdge& edge) const { return band_of(std::max(edge.a.v, edge.b.v)); }

  double top_, per_px_;
  std::size_t count_;
  std::vector<std::size_t> ends_;
  std::vector<std::int32_t> edge_, turn_;
  std::vector<double> from_v_, to_v_, from_u_, slope_;
};

// What the shadow covers of each row of pixels: tells which edges lie well inside of it, where no outline can be.
class CoveredRows {
 public:
  CoveredRows(const std::vector<ContourEdge>& edges, double top, double bottom)
      : first_(std::ceil(top)), ends_(1 + static_cast<std::size_t>(std::max(std::floor(bottom) - first_ + 1.0, 0.0))) {
    const auto each_row = [&](const ContourEdge& edge, auto take) {
      const double low = std::max(std::ceil(std::min(edge.a.v, edge.b.v)), first_);
      const double high =
          std::min(std::floor(std::max(edge.a.v, edge.b.v)), first_ + static_cast<double>(rows()) - 1.0);
      for (double v = low; v <= high; v += 1.0)
        if ((edge.a.v <= v) != (edge.b.v <= v)) take(static_cast<std::size_t>(v - first_), v);
    };
    for (const ContourEdge& edge : edges) each_row(edge, [&](std::size_t row, double) { ++ends_[row + 1]; });
    std::partial_sum(ends_.begin(), ends_.end(), ends_.begin());
    std::vector<Crossing> crossings(ends_.back());
    std::vector<std::size_t> next(ends_.begin(), ends_.end() - 1);
    for (const ContourEdge& edge : edges) {
      const Uv way = edge.b - edge.a;
      each_row(edge, [&](std::size_t row, double v) {
        const double u = edge.a.u + (v - edge.a.v) * (way.u / way.v);
        crossings[next[row]++] = {static_cast<float>(u), way.v > 0.0 ? edge.net : -edge.net};
      });
    }
    spans_.reserve(crossings.size());
    std::size_t begin = 0;
    for (std::size_t row = 0; row < rows(); ++row) {
      const auto first = crossings.begin() + static_cast<std::ptrdiff_t>(begin);
      const auto end = crossings.begin() + static_cast<std::ptrdiff_t>(ends_[row + 1]);
      begin = ends_[row + 1];
      std::sort(first, end, [](const Crossing& a, const Crossing& b) { return a.u < b.u; });
      std::int32_t sheets = 0;
      for (auto crossing = first; crossing != end; ++crossing) {
        const bool before = sheets != 0;
        sheets += crossing->turn;
        if (before != (sheets != 0)) spans_.push_back(crossing->u);  // where cover begins, where it ends, ...
      }
      ends_[row + 1] = spans_.size();
    }
  }

  // Whether all within a pixel of the edge is covered, as far as rows tell.
  bool holds(const ContourEdge& edge) const {
    const double low = std::floor(std::min(edge.a.v, edge.b.v)) - 1.0;
    const double high = std::ceil(std::max(edge.a.v, edge.b.v)) + 1.0;
    if (low < first_ || high > first_ + static_cast<double>(rows()) - 1.0) return false;
    const auto left = static_cast<float>(std::min(edge.a.u, edge.b.u) - 1.0);
    const auto right = static_cast<float>(std::max(edge.a.u, edge.b.u) + 1.0);
    for (auto row = static_cast<std::size_t>(low - first_); row <= static_cast<std::size_t>(high - first_); ++row) {
      const auto begin = spans_.begin() + static_cast<std::ptrdiff_t>(ends_[row]);
      const auto end = spans_.begin() + static_cast<std::ptrdiff_t>(ends_[row + 1]);
      const auto after = std::upper_bound(begin, end, left);
      if ((after - begin) % 2 == 0 || after == end || *after < right) return false;
    }
    return true;
  }

 private:
  struct Crossing {
    float u;
    std::int32_t turn;
  };
  std::size_t rows() const { return ends_.size() - 1; }

  double first_;
  std::vector<std::size_t> ends_;
  std::vector<float> spans_;
};

// The outline of one mesh's shadow.
class Outline {
 public:
  Outline(const ShadowMesh& mesh, const Camera& camera, const Frame& frame)
      : mesh_(mesh), camera_(camera), frame_(frame) {}

  OutlineState find() {
    if (!in_front()) return OutlineState::kTooNear;
    contour();
    if (edges_.empty()) return OutlineState::kNothing;
    double top = kInfinity, bottom = -kInfinity;
    for (const ContourEdge& edge : edges_) {
      top = std::min({top, edge.a.v, edge.b.v});
      bottom = std::max({bottom, edge.a.v, edge.b.v});
    }
    top = std::max(top, frame_.top);
    bottom = std::min(bottom, frame_.bottom);
    const Bands all(edges_, top, bottom, kEdgesPerRayBand);
    leave_out_what_cannot_bound(top, bottom);
    const Bands bands(edges_, top, bottom, kEdgesPerCrossingBand);
    for (std::size_t band = 0; band < bands.count(); ++band) cross_in(bands, band);
    keep_bounds(all);
    return pieces_.empty() ? OutlineState::kNothing : OutlineState::kDrawn;
  }

  // Calls draw(a, b) for each line, along the outline with the shadow on the left.
  template <class Draw>
  void draw(Draw draw) {
    std::vector<std::int32_t> head(static_cast<std::size_t>(nodes_), -1), next(pieces_.size());
    std::vector<std::int32_t> surplus(static_cast<std::size_t>(nodes_), 0);
    for (std::size_t index = pieces_.size(); index-- > 0;) {
      const Piece& piece = pieces_[index];
      next[index] = head[static_cast<std::size_t>(piece.from)];
      head[static_cast<std::size_t>(piece.from)] = static_cast<std::int32_t>(index);
      ++surplus[static_cast<std::size_t>(piece.from)];
      --surplus[static_cast<std::size_t>(piece.to)];
    }
    std::vector<Uv> chain;
    const auto walk = [&](std::size_t node) {
      chain.clear();
      for (std::int32_t index = head[node]; index >= 0; index = head[node]) {
        const Piece& piece = pieces_[static_cast<std::size_t>(index)];
        head[node] = next[static_cast<std::size_t>(index)];
        if (chain.empty()) chain.push_back(piece.a);
        chain.push_back(piece.b);
        node = static_cast<std::size_t>(piece.to);
      }
      simplify(chain, draw);
    };
    // What ends at the picture's rim first, from its beginning; then what is closed.
    for (std::size_t node = 0; node < head.size(); ++node)
      while (surplus[node]-- > 0 && head[node] >= 0) walk(node);
    for (std::size_t node = 0; node < head.size(); ++node)
      while (head[node] >= 0) walk(node);
  }

 private:
  bool in_front() const {
    const auto depth = [&](double x, double y, double z) {
      return camera_.p[8] * x + camera_.p[9] * y + camera_.p[10] * z + camera_.p[11];
    };
    double nearest = kInfinity;
    for (const double x : {mesh_.low[0], mesh_.high[0]})
      for (const double y : {mesh_.low[1], mesh_.high[1]})
        for (const double z : {mesh_.low[2], mesh_.high[2]}) nearest = std::min(nearest, depth(x, y, z));
    if (nearest > kNearestMm) return true;
    for (std::size_t i = 0; i < mesh_.vertex_count; ++i) {
      const float* vertex = &mesh_.vertices[3 * i];
      if (!(depth(vertex[0], vertex[1], vertex[2]) > kNearestMm)) return false;
    }
    return true;
  }

  // Edges between triangles that turn different sides to the source, those left out that cannot matter.
  void contour() {
    std::vector<std::int8_t> facing(mesh_.triangle_count + 1);
    const Vec& source = camera_.source;
    facings(mesh_.plane_x.data(), mesh_.plane_y.data(), mesh_.plane_z.data(), mesh_.plane_d.data(), facing.size(),
            source.x, source.y, source.z, facing.data());
    std::vector<std::int32_t> node_of(mesh_.vertex_count, -1);
    std::vector<Uv> places;
    const auto node = [&](std::int32_t vertex) {
      std::int32_t& own = node_of[static_cast<std::size_t>(vertex)];
      if (own < 0) {
        own = nodes_++;
        const float* v = &mesh_.vertices[3 * static_cast<std::size_t>(vertex)];
        const Vec uvw = camera_.point({v[0], v[1], v[2]});
        places.push_back({uvw.x / uvw.z, uvw.y / uvw.z});
      }
      return own;
    };
    for (const ShadowMesh::Edge& edge : mesh_.edges) {
      const int net = facing[static_cast<std::size_t>(edge.along)] - facing[static_cast<std::size_t>(edge.back)];
      if (net == 0) continue;
      ContourEdge found{};
      found.from = node(edge.from);
      found.to = node(edge.to);
      found.a = places[static_cast<std::size_t>(found.from)];
      found.b = places[static_cast<std::size_t>(found.to)];
      found.net = net;
      // A ray from a place on the picture towards larger u meets nothing of what lies above, below or left of it.
      if (std::max(found.a.v, found.b.v) < frame_.top || std::min(found.a.v, found.b.v) > frame_.bottom ||
          std::max(found.a.u, found.b.u) < frame_.left || (found.a.u == found.b.u && found.a.v == found.b.v))
        continue;
      clip(frame_, found);
      edges_.push_back(found);
    }
  }

  // Edges off the picture, and where there are many, those well inside the shadow: of rough surfaces nearly all.
  void leave_out_what_cannot_bound(double top, double bottom) {
    if (edges_.size() > kManyEdges) {
      const CoveredRows covered(edges_, top, bottom);
      std::erase_if(edges_, [&](const ContourEdge& edge) { return edge.first > edge.last || covered.holds(edge); });
    } else {
      std::erase_if(edges_, [](const ContourEdge& edge) { return edge.first > edge.last; });
    }
  }

  void cross_in(const Bands& bands, std::size_t band) {
    const std::int32_t* end = bands.end(band);
    for (const std::int32_t* one = bands.begin(band); one != end; ++one) {
      const ContourEdge& p = edges_[static_cast<std::size_t>(*one)];
      const double left = std::min(p.a.u, p.b.u) - kTouchPx, right = std::max(p.a.u, p.b.u) + kTouchPx;
      const double top = std::min(p.a.v, p.b.v), bottom = std::max(p.a.v, p.b.v);
      for (const std::int32_t* other = one + 1; other != end; ++other) {
        const ContourEdge& q = edges_[static_cast<std::size_t>(*other)];
        if (std::max(q.a.u, q.b.u) < left || std::min(q.a.u, q.b.u) > right) continue;
        const double q_top = std::min(q.a.v, q.b.v);
        if (std::max(q.a.v, q.b.v) < top - kTouchPx || q_top > bottom + kTouchPx) continue;
        // Two that share several bands are looked at in the first of them.
        if (bands.band_of(std::max(top, q_top)) == band) cross_two(*one, *other);
      }
    }
  }

  void cross_two(std::int32_t one, std::int32_t other) {
    const ContourEdge &p = edges_[static_cast<std::size_t>(one)], &q = edges_[static_cast<std::size_t>(other)];
    const Uv along = p.b - p.a, across = q.b - q.a, apart = q.a - p.a;
    const double sine = cross(along, across), lengths = std::sqrt(dot(along, along) * dot(across, across));
    if (std::abs(sine) <= 1e-6 * lengths) {
      end_on(one, p, q.a, q.from);
      end_on(one, p, q.b, q.to);
      end_on(other, q, p.a, p.from);
      end_on(other, q, p.b, p.to);
      return;
    }
    if (p.from == q.from || p.from == q.to || p.to == q.from || p.to == q.to) return;
    const double part = cross(apart, across) / sine, other_part = cross(apart, along) / sine;
    if (part < -kEnd || part > 1.0 + kEnd || other_part < -kEnd || other_part > 1.0 + kEnd) return;
    cut(one, nodes_, part);
    cut(other, nodes_, other_part);
    ++nodes_;
  }

  // Where an end of another edge that runs along this one lies on it.
  void end_on(std::int32_t index, const ContourEdge& edge, const Uv& place, std::int32_t node) {
    if (node == edge.from || node == edge.to) return;
    const Uv along = edge.b - edge.a, away = place - edge.a;
    const double squared = dot(along, along), part = dot(away, along) / squared;
    if (std::abs(cross(along, away)) <= kTouchPx * std::sqrt(squared)) cut(index, node, part);
  }

  void cut(std::int32_t edge, std::int32_t node, double part) {
    if (part > kEnd && part < 1.0 - kEnd) cuts_.push_back({edge, node, part});
  }

  void keep_bounds(const Bands& bands) {
    std::sort(cuts_.begin(), cuts_.end(),
              [](const Cut& a, const Cut& b) { return a.edge != b.edge ? a.edge < b.edge : a.part < b.part; });
    auto next = cuts_.cbegin();
    for (std::size_t index = 0; index < edges_.size(); ++index) {
      const ContourEdge& edge = edges_[index];
      double part = edge.first;
      std::int32_t node = part > 0.0 ? -1 : edge.from;
      for (; next != cuts_.cend() && next->edge == static_cast<std::int32_t>(index); ++next) {
        if (next->part <= part || next->part >= edge.last) continue;
        keep_if_bound(bands, edge, part, next->part, node, next->node);
        part = next->part;
        node = next->node;
      }
      keep_if_bound(bands, edge, part, edge.last, node, edge.last < 1.0 ? -1 : edge.to);
    }
  }

  void keep_if_bound(const Bands& bands, const ContourEdge& edge, double first, double last, std::int32_t from,
                     std::int32_t to) {
    if (!(last > first)) return;
    const Uv along = edge.b - edge.a, middle = edge.a + (0.5 * (first + last)) * along;
    const Uv beside = (kBesidePx / std::sqrt(dot(along, along))) * Uv{-along.v, along.u};
    const bool left = bands.winding(middle + beside) != 0, right = bands.winding(middle - beside) != 0;
    if (left == right) return;
    const Uv a = first > 0.0 ? edge.a + first * along : edge.a, b = last < 1.0 ? edge.a + last * along : edge.b;
    if (from < 0) from = nodes_++;
    if (to < 0) to = nodes_++;
    if (left)
      pieces_.push_back({a, b, from, to});
    else
      pieces_.push_back({b, a, to, from});
  }

  // Leaves out points as long as all that are left out lie within the tolerance of the line that stands for them.
  template <class Draw>
  static void simplify(const std::vector<Uv>& chain, Draw draw) {
    if (chain.size() < 2) return;
    Uv anchor = chain[0], last = chain[0], heading{0.0, 0.0};
    double low = 0.0, high = 0.0, reached = 0.0;
    bool aimed = false;
    for (std::size_t i = 1; i < chain.size();) {
      const Uv away = chain[i] - anchor;
      const double distance = std::sqrt(dot(away, away));
      if (!aimed) {
        if (distance > kTolerancePx) {
          heading = away;
          const double half = std::asin(kTolerancePx / distance);
          low = -half;
          high = half;
          reached = distance;
          aimed = true;
        }
        last = chain[i++];
        continue;
      }
      const double turn = std::atan2(cross(heading, away), dot(heading, away));
      if (distance < reached - kTolerancePx || turn < low || turn > high) {
        draw(anchor, last);
        anchor = last;
        aimed = false;
        continue;
      }
      if (distance > kTolerancePx) {
        const double half = std::asin(kTolerancePx / distance);
        low = std::max(low, turn - half);
        high = std::min(high, turn + half);
        reached = std::max(reached, distance);
      }
      last = chain[i++];
    }
    draw(anchor, last);
  }

  const ShadowMesh& mesh_;
  const Camera& camera_;
  const Frame& frame_;
  std::int32_t nodes_ = 0;
  std::vector<ContourEdge> edges_;
  std::vector<Cut> cuts_;
  std::vector<Piece> pieces_;
};

}  // namespace

// Vertices are (vertex_count, 3) float and finite, triangles (triangle_count, 3) int32 and of these vertices. Triangles
// need not make one closed surface, nor run all the same way round: the shadow is that of all of them.
ShadowMesh::ShadowMesh(const void* vertices_mm, std::size_t vertices_, const void* triangles, std::size_t triangles_)
    : vertex_count(vertices_), triangle_count(triangles_), vertices(3 * vertices_) {
  if (vertex_count > 0) std::memcpy(vertices.data(), vertices_mm, sizeof(float) * vertices.size());
  for (auto* plane : {&plane_x, &plane_y, &plane_z, &plane_d}) plane->assign(triangle_count + 1, 0.0);
  for (std::size_t axis = 0; axis < 3 && vertex_count > 0; ++axis) {
    low[axis] = high[axis] = vertices[axis];
    for (std::size_t i = 0; i < vertex_count; ++i) {
      low[axis] = std::min<double>(low[axis], vertices[3 * i + axis]);
      high[axis] = std::max<double>(high[axis], vertices[3 * i + axis]);
    }
  }
  struct Side {
    std::uint64_t ends;  // smaller vertex, larger vertex
    std::int32_t triangle;
    bool rising;  // runs from the smaller to the larger
  };
  std::vector<Side> sides;
  sides.reserve(3 * triangle_count);
  for (std::size_t t = 0; t < triangle_count; ++t) {
    std::array<std::int32_t, 3> corner;
    std::array<Vec, 3> place;
    for (std::size_t i = 0; i < 3; ++i) {
      corner[i] = at<std::int32_t>(triangles, 3 * t + i);
      const float* v = &vertices[3 * static_cast<std::size_t>(corner[i])];
      place[i] = {v[0], v[1], v[2]};
    }
    const Vec a = place[1] - place[0], b = place[2] - place[0];
    const Vec normal{a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
    plane_x[t] = normal.x;
    plane_y[t] = normal.y;
    plane_z[t] = normal.z;
    plane_d[t] = -dot(normal, place[0]);
    for (std::size_t i = 0; i < 3; ++i) {
      const auto from = static_cast<std::uint64_t>(corner[i]), to = static_cast<std::uint64_t>(corner[(i + 1) % 3]);
      if (from != to)
        sides.push_back({std::min(from, to) << 32 | std::max(from, to), static_cast<std::int32_t>(t), from < to});
    }
  }
  std::sort(sides.begin(), sides.end(), [](const Side& a, const Side& b) {
    return a.ends != b.ends ? a.ends < b.ends : a.rising != b.rising ? a.rising : a.triangle < b.triangle;
  });
  const auto nobody = static_cast<std::int32_t>(triangle_count);
  edges.reserve(sides.size() / 2 + 1);
  for (auto first = sides.cbegin(); first != sides.cend();) {
    const auto end = std::find_if(first, sides.cend(), [&](const Side& side) { return side.ends != first->ends; });
    auto falling = std::find_if(first, end, [](const Side& side) { return !side.rising; });
    const auto smaller = static_cast<std::int32_t>(first->ends >> 32);
    const auto larger = static_cast<std::int32_t>(first->ends & 0xFFFFFFFFU);
    // Each that runs one way is paired with one that runs the other; of a closed surface none is left.
    for (auto rising = first; rising != end && rising->rising; ++rising)
      edges.push_back({smaller, larger, rising->triangle, falling != end ? (falling++)->triangle : nobody});
    for (; falling != end; ++falling) edges.push_back({larger, smaller, falling->triangle, nobody});
    first = end;
  }
}

// Strokes (kStrokeNumbers floats each) of all outlines: zone by zone from the farthest to the nearest as seen from the
// detector, outline by outline, end to end. `summary` takes an OutlineSummary for each mesh, in their own order.
std::vector<float> silhouette_strokes(const std::vector<const ShadowMesh*>& meshes, const std::uint8_t* colors,
                                      const OutlineRequest& request, void* summary) {
  const Camera camera(request.pixel_from_patient);
  const double rim = kRimPx + request.line_width_px / 2.0;
  const Frame frame{-0.5 - rim, -0.5 - rim, request.columns - 0.5 + rim, request.rows - 0.5 + rim};
  std::vector<double> depths;
  for (const ShadowMesh* mesh : meshes) {
    const Vec middle{0.5 * (mesh->low[0] + mesh->high[0]), 0.5 * (mesh->low[1] + mesh->high[1]),
                     0.5 * (mesh->low[2] + mesh->high[2])};
    depths.push_back(camera.point(middle).z);
  }
  std::vector<std::size_t> order(meshes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return depths[a] < depths[b]; });
  std::vector<float> strokes;
  for (const std::size_t index : order) {
    Outline outline(*meshes[index], camera, frame);
    const OutlineState state = outline.find();
    const std::size_t first = strokes.size() / kStrokeNumbers;
    OutlineSummary of_this{static_cast<double>(state), depths[index], static_cast<double>(first), 0, 0, 0, 0, 0};
    if (state == OutlineState::kDrawn) {
      Uv low{kInfinity, kInfinity}, high{-kInfinity, -kInfinity};
      const std::uint8_t* color = colors + 3 * index;
      outline.draw([&](const Uv& a, const Uv& b) {
        for (const double number : {a.u, a.v, b.u, b.v, request.line_width_px / 2.0})
          strokes.push_back(static_cast<float>(number));
        for (std::size_t i = 0; i < 3; ++i) strokes.push_back(color[i]);
        low = {std::min({low.u, a.u, b.u}), std::min({low.v, a.v, b.v})};
        high = {std::max({high.u, a.u, b.u}), std::max({high.v, a.v, b.v})};
      });
      of_this.count = static_cast<double>(strokes.size() / kStrokeNumbers - first);
      of_this.left = low.u;
      of_this.top = low.v;
      of_this.right = high.u;
      of_this.bottom = high.v;
    }
    std::memcpy(static_cast<std::uint8_t*>(summary) + index * sizeof of_this, &of_this, sizeof of_this);
  }
  return strokes;
}

}  // namespace guidance
