// Connected regions of marks, and closed sub-pixel lines around them.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "cement.hpp"

namespace guidance::cement {

void Regions::find(std::uint8_t* marks, std::size_t rows, std::size_t columns, const float* value,
                   const std::uint8_t* seen, const std::uint8_t* to) {
  regions_.clear();
  pixels_.clear();
  for (std::size_t start = 0; start < rows * columns; ++start) {
    const auto* const next_mark =
        static_cast<const std::uint8_t*>(std::memchr(marks + start, 1, rows * columns - start));
    if (next_mark == nullptr) break;
    start = static_cast<std::size_t>(next_mark - marks);
    Region region{pixels_.size(), 0, value[start], 0, 0, {}};
    int left = static_cast<int>(columns), top = static_cast<int>(rows), right = 0, bottom = 0;
    marks[start] = 0;
    pixels_.push_back(static_cast<std::uint32_t>(start));
    for (std::size_t next = region.first; next < pixels_.size(); ++next) {
      const std::size_t at = pixels_[next];
      const auto r = static_cast<int>(at / columns), c = static_cast<int>(at % columns);
      region.most = std::max(region.most, value[at]);
      region.attached += to[at] != 0;
      left = std::min(left, c);
      right = std::max(right, c);
      top = std::min(top, r);
      bottom = std::max(bottom, r);
      bool border = false;
      for (int v = r - 1; v <= r + 1; ++v)
        for (int u = c - 1; u <= c + 1; ++u) {
          if (v < 0 || u < 0 || v >= static_cast<int>(rows) || u >= static_cast<int>(columns)) {
            border = true;
            continue;
          }
          const std::size_t beside = static_cast<std::size_t>(v) * columns + static_cast<std::size_t>(u);
          if (!seen[beside]) border = true;
          if (!marks[beside]) continue;
          marks[beside] = 0;
          pixels_.push_back(static_cast<std::uint32_t>(beside));
        }
      region.border += border ? 1 : 0;
    }
    region.count = pixels_.size() - region.first;
    region.box = {left, top, right, bottom};
    regions_.push_back(region);
  }
}

void Contours::reserve(std::size_t rows, std::size_t columns) {
  next_.assign(2 * (rows + 2) * (columns + 2), -1);
  touched_.reserve((rows + 2) * (columns + 2) / 4);
  points_.reserve((rows + 2) * (columns + 2) / 4);
  ends_.reserve(1024);
}

// Edges of the grid have a number each: 2 n from point n to the right, 2 n + 1 downwards, points counted from (-1, -1).
void Contours::find(const float* field, std::size_t rows, std::size_t columns, const std::array<int, 4>& box) {
  points_.clear();
  ends_.clear();
  touched_.clear();
  area_ = 0.0;
  const auto [left, top, right, bottom] = box;
  const auto width = static_cast<std::int32_t>(columns) + 2;
  const auto inside_box = [&](int r, int c) { return c >= left && c <= right && r >= top && r <= bottom; };
  const auto value = [&](int r, int c) {
    return field[static_cast<std::size_t>(r) * columns + static_cast<std::size_t>(c)];
  };
  const auto inside = [&](int r, int c) { return inside_box(r, c) && value(r, c) > 0.0F; };
  const auto number = [&](int r, int c) { return (r + 1) * width + c + 1; };
  const auto link = [&](std::int32_t from, std::int32_t to) {
    next_[static_cast<std::size_t>(from)] = to;
    touched_.push_back(static_cast<std::uint32_t>(from));
  };
  if (rows == 0 || left > right || top > bottom) return;
  for (int r = top - 1; r <= bottom; ++r)
    for (int c = left - 1; c <= right; ++c) {
      const bool a = inside(r, c), b = inside(r, c + 1), d = inside(r + 1, c), e = inside(r + 1, c + 1);
      const int in = a + b + d + e;
      if (in == 0 || in == 4) continue;
      // Around the cell from its first corner: a, b, e, d; where the way leaves the inside a line begins.
      const std::int32_t edges[4] = {2 * number(r, c), 2 * number(r, c + 1) + 1, 2 * number(r + 1, c),
                                     2 * number(r, c) + 1};
      const bool corners[5] = {a, b, e, d, a};
      std::int32_t begins[2] = {}, stops[2] = {};
      int begin_at[2] = {}, stop_at[2] = {}, begin_count = 0, stop_count = 0;
      for (int n = 0; n < 4; ++n) {
        if (corners[n] && !corners[n + 1]) {
          begin_at[begin_count] = n;
          begins[begin_count++] = edges[n];
        } else if (!corners[n] && corners[n + 1]) {
          stop_at[stop_count] = n;
          stops[stop_count++] = edges[n];
        }
      }
      if (begin_count == 1) {
        link(begins[0], stops[0]);
        continue;
      }
      float sum = 0.0F;
      for (int y = r; y <= r + 1; ++y)
        for (int x = c; x <= c + 1; ++x) sum += inside_box(y, x) ? value(y, x) : -1.0F;
      // Joined in the middle: each line goes on to the next edge on the way, around a corner that is outside.
      for (int n = 0; n < 2; ++n) {
        const int wanted = sum > 0.0F ? (begin_at[n] + 1) % 4 : (begin_at[n] + 3) % 4;
        link(begins[n], stop_at[0] == wanted ? stops[0] : stops[1]);
      }
    }
  const auto point = [&](std::int32_t edge) -> std::array<float, 2> {
    const std::int32_t at = edge / 2;
    const int r = at / width - 1, c = at % width - 1;
    const int other_r = r + (edge & 1), other_c = c + 1 - (edge & 1);
    const bool here = inside_box(r, c), there = inside_box(other_r, other_c);
    const float one = here ? value(r, c) : -value(other_r, other_c);
    const float two = there ? value(other_r, other_c) : -one;
    const float part = std::clamp(one / (one - two), 0.0F, 1.0F);
    return {static_cast<float>(c) + ((edge & 1) ? 0.0F : part), static_cast<float>(r) + ((edge & 1) ? part : 0.0F)};
  };
  for (const std::uint32_t start : touched_) {
    if (next_[start] < 0) continue;
    const std::size_t first = points_.size();
    auto edge = static_cast<std::int32_t>(start);
    while (edge >= 0 && next_[static_cast<std::size_t>(edge)] >= 0) {
      points_.push_back(point(edge));
      const std::int32_t after = next_[static_cast<std::size_t>(edge)];
      next_[static_cast<std::size_t>(edge)] = -1;
      edge = after;
    }
    double twice = 0.0;
    for (std::size_t n = first; n < points_.size(); ++n) {
      const auto& p = points_[n];
      const auto& q = points_[n + 1 < points_.size() ? n + 1 : first];
      twice += static_cast<double>(p[0]) * q[1] - static_cast<double>(q[0]) * p[1];
    }
    area_ += 0.5 * twice;
    ends_.push_back(points_.size());
  }
}

}  // namespace guidance::cement
