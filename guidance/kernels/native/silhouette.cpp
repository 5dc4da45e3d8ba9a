// The outline of a surface's shadow, exact for its triangles.
//
// Every triangle's projected border, run in the direction that encloses it positively, adds up to closed curves whose
// winding number counts the triangles over a pixel. Inside a smooth patch the borders cancel: what is left are the
// contour edges, where the surface turns away from the source. Cut at their crossings, a piece of them bounds the
// shadow where nothing covers the one side of it and something the other; all other pieces are folds inside.
#include "silhouette.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "contour_rows.hpp"
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
constexpr std::size_t kManyEdges = 1000;  // of one contour; with more, an opening less than a pixel high may be missed
constexpr double kEnd = 1e-9;             // a cut nearer to an edge's end, in parts of the edge, is that end
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// 1 where the source sees the triangle's outer side, -1 its inner side, 0 where it sees it edge-on.
GUIDANCE_CLONES void facings(const double* x, const double* y, const double* z, const double* d, std::size_t count,
                             double source_x, double source_y, double source_z, std::int8_t* facing) {
  for (std::size_t i = 0; i < count; ++i) {
    const double side = x[i] * source_x + y[i] * source_y + z[i] * source_z + d[i];
    facing[i] = static_cast<std::int8_t>((side > 0.0) - (side < 0.0));
  }
}

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
