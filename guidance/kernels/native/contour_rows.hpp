// Contour edges on the picture by its rows: cut to what shows, who may cross whom, and what lies well inside a shadow.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include "kernels.hpp"
#include "tube_geometry.hpp"

namespace guidance {

constexpr std::size_t kMostBands = 1024;

inline double cross(const Uv& a, const Uv& b) { return a.u * b.v - a.v * b.u; }
inline double dot(const Uv& a, const Uv& b) { return a.u * b.u + a.v * b.v; }

// Sum of the turns of what crosses the ray from (u, v) towards larger u.
GUIDANCE_CLONES static int winding_of(const double* from_v, const double* to_v, const double* from_u,
                                      const double* slope, const std::int32_t* turn, std::size_t count, double u,
                                      double v) {
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
inline void clip(const Frame& frame, ContourEdge& edge) {
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

}  // namespace guidance
