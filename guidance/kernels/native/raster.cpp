// Anti-aliased strokes and coverage sprites in a straight-alpha layer. Per pixel the larger coverage wins and keeps
// exactly its colour; of two equal ones the later. All arithmetic is double and uncontracted: the NumPy twin agrees
// to the bit on every processor.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels.hpp"

namespace guidance {
namespace {

constexpr double kHalfDiagonal = 0.7072;  // how far a pixel's corner is from its centre
constexpr double kFarPx = 1e9;

struct Stroke {
  double x0, y0, x1, y1, half_width;
  std::uint8_t color[3];
};

std::uint8_t color_byte(float value) { return static_cast<std::uint8_t>(std::clamp(value, 0.0F, 255.0F) + 0.5F); }

// False for a stroke that can't be drawn: a number that isn't finite, or no width.
bool read_stroke(const std::uint8_t* from, Stroke& stroke) {
  float n[kStrokeNumbers];
  std::memcpy(n, from, sizeof n);
  for (const float number : n)
    if (!std::isfinite(number)) return false;
  stroke = {n[0], n[1], n[2], n[3], n[4], {color_byte(n[5]), color_byte(n[6]), color_byte(n[7])}};
  return stroke.half_width > 0.0;
}

inline double squared_above_zero(double value) {
  const double positive = value > 0.0 ? value : 0.0;
  return positive * positive;
}

// The part of a pixel (a unit box) that lies on the inner side of a straight edge, `depth` px inside of it: the box
// seen along the edge is a trapezium, this is its integral. Along the axes the normal is tilted by 1e-6, so that the
// quotient stays well conditioned.
struct Edge {
  double outer, inner, factor;
  Edge(double normal_x, double normal_y) {
    const double large = std::max(std::abs(normal_x), std::abs(normal_y));
    const double small = std::max(std::min(std::abs(normal_x), std::abs(normal_y)), 1e-6);
    outer = 0.5 * (large + small);
    inner = 0.5 * (large - small);
    factor = 1.0 / (2.0 * (large * small));
  }
  double covered(double depth) const {
    const double t = std::min(std::max(depth, -outer), outer);
    return (squared_above_zero(t + outer) - squared_above_zero(t + inner) - squared_above_zero(t - inner) +
            squared_above_zero(t - outer)) *
           factor;
  }
  // Between two edges `half_width` to both sides of a line `distance` px away.
  double covered_band(double half_width, double distance) const {
    const double one_side = covered(half_width - distance);
    // Beyond `outer` the other edge misses the pixel: its term is exactly 0.
    return half_width + distance < outer ? one_side - covered(-half_width - distance) : one_side;
  }
};

inline std::uint8_t coverage_byte(double coverage) {
  return static_cast<std::uint8_t>(std::min(std::max(coverage, 0.0), 1.0) * 255.0 + 0.5);
}

// Pixel range first .. last of a real interval, inside 0 .. size-1; empty when first > last.
struct Range {
  std::ptrdiff_t first, last;
  Range(double low, double high, std::size_t size) {
    const double top = static_cast<double>(size) - 1.0;
    first =
        low > 0.0 ? (low > top ? static_cast<std::ptrdiff_t>(size) : static_cast<std::ptrdiff_t>(std::ceil(low))) : 0;
    last = high < top ? (high < 0.0 ? -1 : static_cast<std::ptrdiff_t>(std::floor(high)))
                      : static_cast<std::ptrdiff_t>(size) - 1;
  }
};

void mark_dirty(const Layer& layer, std::size_t row, std::size_t first, std::size_t last) {
  std::uint8_t* tiles = layer.dirty + row / kTileRows * layer.tile_columns();
  for (std::size_t tile = first / kTileColumns; tile <= last / kTileColumns; ++tile) tiles[tile] = 1;
}

inline void cover(std::uint8_t* pixel, std::uint8_t coverage, const std::uint8_t* color) {
  if (coverage == 0 || coverage < pixel[3]) return;
  pixel[0] = color[0];
  pixel[1] = color[1];
  pixel[2] = color[2];
  pixel[3] = coverage;
}

constexpr std::size_t kLanes = 8;

// Coverage of kLanes pixels of a row beside the segment (not its ends); y_ux is y * ux. Written for the vectoriser,
// with the arithmetic of Edge::covered_band.
GUIDANCE_CLONES void body_coverage(const Edge& side, double half_width, const double* x, double uy, double y_ux,
                                   std::uint8_t* coverage) {
  const double outer = side.outer;
  const double inner = side.inner;
  const double factor = side.factor;
  double sums[kLanes];
  for (std::size_t i = 0; i < kLanes; ++i) {
    const double near = std::min(std::max(half_width - std::abs(x[i] * uy - y_ux), -outer), outer);
    sums[i] = (squared_above_zero(near + outer) - squared_above_zero(near + inner) - squared_above_zero(near - inner) +
               squared_above_zero(near - outer)) *
              factor;
  }
  if (half_width < outer)  // else the other edge misses every pixel
    for (std::size_t i = 0; i < kLanes; ++i) {
      const double far = std::min(std::max(-half_width - std::abs(x[i] * uy - y_ux), -outer), outer);
      sums[i] -= (squared_above_zero(far + outer) - squared_above_zero(far + inner) - squared_above_zero(far - inner) +
                  squared_above_zero(far - outer)) *
                 factor;
    }
  for (std::size_t i = 0; i < kLanes; ++i) sums[i] = std::min(std::max(sums[i], 0.0), 1.0) * 255.0 + 0.5;
  for (std::size_t i = 0; i < kLanes; ++i) coverage[i] = static_cast<std::uint8_t>(static_cast<std::int32_t>(sums[i]));
}

// Coverage of the pixel (ex, ey) px from an end of the segment.
inline std::uint8_t end_coverage(double half_width, double ex, double ey, double reach_squared) {
  const double squared = ex * ex + ey * ey;
  if (squared >= reach_squared) return 0;
  const double distance = std::sqrt(squared);
  const Edge round = distance > 0.0 ? Edge(ex / distance, ey / distance) : Edge(1.0, 0.0);
  return coverage_byte(round.covered_band(half_width, distance));
}

// A capsule: all points within half_width of the segment.
void draw_stroke(const Stroke& s, const Layer& layer) {
  const double dx = s.x1 - s.x0;
  const double dy = s.y1 - s.y0;
  const double length = std::sqrt(dx * dx + dy * dy);
  const double ux = length > 0.0 ? dx / length : 1.0;
  const double uy = length > 0.0 ? dy / length : 0.0;
  const double reach = s.half_width + kHalfDiagonal;
  const double reach_squared = reach * reach;
  const Edge side(uy, ux);
  // Farther away a double no longer tells columns apart: the whole row is looked at.
  const bool near = std::max(std::abs(s.x0), std::abs(s.y0)) < kFarPx;
  const Range rows(std::min(s.y0, s.y1) - reach, std::max(s.y0, s.y1) + reach, layer.rows);
  for (std::ptrdiff_t row = rows.first; row <= rows.last; ++row) {
    const double y = static_cast<double>(row) - s.y0;
    double low = std::min(s.x0, s.x1) - reach;
    double high = std::max(s.x0, s.x1) + reach;
    if (uy != 0.0 && near) {  // only where the band around the axis crosses this row
      const double a = s.x0 + (y * ux - reach) / uy;
      const double b = s.x0 + (y * ux + reach) / uy;
      low = std::max(low, std::min(a, b));
      high = std::min(high, std::max(a, b));
    }
    const Range columns(low, high, layer.columns);
    if (columns.first > columns.last) continue;
    mark_dirty(layer, static_cast<std::size_t>(row), static_cast<std::size_t>(columns.first),
               static_cast<std::size_t>(columns.last));
    std::uint8_t* pixel =
        layer.rgba + 4 * (static_cast<std::size_t>(row) * layer.columns + static_cast<std::size_t>(columns.first));
    const double y_ux = y * ux;
    const double y_uy = y * uy;
    for (std::ptrdiff_t first = columns.first; first <= columns.last; first += kLanes, pixel += 4 * kLanes) {
      const auto count = std::min<std::ptrdiff_t>(kLanes, columns.last - first + 1);
      double x[kLanes];
      std::uint8_t coverage[kLanes] = {};
      for (std::size_t i = 0; i < kLanes; ++i)
        x[i] = static_cast<double>(first + static_cast<std::ptrdiff_t>(i)) - s.x0;
      const double along_first = x[0] * ux + y_uy;
      const double along_last = x[count - 1] * ux + y_uy;
      if (std::max(along_first, along_last) >= 0.0 && std::min(along_first, along_last) <= length)
        body_coverage(side, s.half_width, x, uy, y_ux, coverage);
      for (std::ptrdiff_t i = 0; i < count; ++i) {
        const double along = x[i] * ux + y_uy;
        if (!(along >= 0.0 && along <= length)) {
          const double ex = along < 0.0 ? x[i] : static_cast<double>(first + i) - s.x1;
          const double ey = along < 0.0 ? y : static_cast<double>(row) - s.y1;
          coverage[i] = end_coverage(s.half_width, ex, ey, reach_squared);
        }
        cover(pixel + 4 * i, coverage[i], s.color);
      }
    }
  }
}

constexpr std::int64_t kAtOnce = sizeof(std::uint64_t);

struct Sprite {
  std::int64_t offset, rows, columns, x, y;
  std::uint8_t color[3];
};

Sprite read_sprite(const Scene& scene, std::size_t index) {
  std::int32_t n[kSpriteNumbers];
  std::memcpy(n, static_cast<const std::uint8_t*>(scene.sprite_table) + sizeof n * index, sizeof n);
  const auto byte = [](std::int32_t value) { return static_cast<std::uint8_t>(std::clamp(value, 0, 255)); };
  return {n[0], n[1], n[2], n[3], n[4], {byte(n[5]), byte(n[6]), byte(n[7])}};
}

void draw_sprite(const Sprite& s, const std::uint8_t* coverage, const Layer& layer) {
  const auto top = std::max<std::int64_t>(s.y, 0);
  const auto bottom = std::min<std::int64_t>(s.y + s.rows, static_cast<std::int64_t>(layer.rows));
  const auto left = std::max<std::int64_t>(s.x, 0);
  const auto right = std::min<std::int64_t>(s.x + s.columns, static_cast<std::int64_t>(layer.columns));
  if (left >= right) return;
  for (std::int64_t row = top; row < bottom; ++row) {
    mark_dirty(layer, static_cast<std::size_t>(row), static_cast<std::size_t>(left),
               static_cast<std::size_t>(right - 1));
    const std::uint8_t* from = coverage + s.offset + (row - s.y) * s.columns + (left - s.x);
    std::uint8_t* pixel =
        layer.rgba + 4 * (static_cast<std::size_t>(row) * layer.columns + static_cast<std::size_t>(left));
    for (std::int64_t column = left; column < right;) {
      const std::int64_t count = std::min(kAtOnce, right - column);
      // A text is mostly blank, each of its shades nearly all: eight blank pixels are one look.
      std::uint64_t eight = 1;
      if (count == kAtOnce) std::memcpy(&eight, from, sizeof eight);
      if (eight != 0)
        for (std::int64_t i = 0; i < count; ++i) cover(pixel + 4 * i, from[i], s.color);
      column += count;
      from += count;
      pixel += 4 * count;
    }
  }
}

void draw_strokes(const Scene& scene, std::size_t first, std::size_t end, const Layer& layer) {
  Stroke stroke;
  for (std::size_t i = first; i < end; ++i)
    if (read_stroke(static_cast<const std::uint8_t*>(scene.strokes) + sizeof(float) * kStrokeNumbers * i, stroke))
      draw_stroke(stroke, layer);
}

void draw_sprites(const Scene& scene, const Layer& layer) {
  for (std::size_t i = 0; i < scene.sprite_count; ++i) draw_sprite(read_sprite(scene, i), scene.sprites, layer);
}

// An empty layer of the calling thread's own, kept from frame to frame.
Layer scratch_layer(std::size_t rows, std::size_t columns) {
  thread_local std::vector<std::uint8_t> rgba;
  thread_local std::vector<std::uint8_t> dirty;
  Layer layer{nullptr, nullptr, rows, columns};
  if (rgba.size() < 4 * rows * columns) rgba.assign(4 * rows * columns, 0);
  if (dirty.size() < layer.tile_rows() * layer.tile_columns())
    dirty.assign(layer.tile_rows() * layer.tile_columns(), 0);
  layer.rgba = rgba.data();
  layer.dirty = dirty.data();
  return layer;
}

// Takes over what `below` shows where `layer` shows nothing.
void put_below(const Layer& below, const Layer& layer) {
  for (std::size_t tile_row = 0; tile_row < layer.tile_rows(); ++tile_row) {
    const std::size_t end = std::min((tile_row + 1) * kTileRows, layer.rows);
    for (std::size_t tile = 0; tile < layer.tile_columns(); ++tile) {
      const std::size_t at = tile_row * layer.tile_columns() + tile;
      if (!below.dirty[at]) continue;
      layer.dirty[at] = 1;
      const std::size_t first = tile * kTileColumns;
      const std::size_t last = std::min(first + kTileColumns, layer.columns);
      for (std::size_t row = tile_row * kTileRows; row < end; ++row)
        for (std::size_t column = first; column < last; ++column) {
          const std::size_t pixel = 4 * (row * layer.columns + column);
          if (layer.rgba[pixel + 3] == 0) std::memcpy(layer.rgba + pixel, below.rgba + pixel, 4);
        }
    }
  }
}

}  // namespace

// Whether every sprite's coverage lies inside the sprites' bytes.
bool sprites_fit(const Scene& scene) {
  for (std::size_t i = 0; i < scene.sprite_count; ++i) {
    const Sprite s = read_sprite(scene, i);
    if (s.offset < 0 || s.rows < 0 || s.columns < 0) return false;
    if (s.offset + s.rows * s.columns > static_cast<std::int64_t>(scene.sprite_bytes)) return false;
  }
  return true;
}

// Takes away what was drawn, and forgets that it was.
void clear_layer(const Layer& layer) {
  for (std::size_t tile_row = 0; tile_row < layer.tile_rows(); ++tile_row) {
    std::uint8_t* dirty = layer.dirty + tile_row * layer.tile_columns();
    const std::size_t end = std::min((tile_row + 1) * kTileRows, layer.rows);
    for (std::size_t tile = 0; tile < layer.tile_columns(); ++tile) {
      if (!dirty[tile]) continue;
      dirty[tile] = 0;
      const std::size_t first = tile * kTileColumns;
      const std::size_t count = std::min(kTileColumns, layer.columns - first);
      for (std::size_t row = tile_row * kTileRows; row < end; ++row)
        std::memset(layer.rgba + 4 * (row * layer.columns + first), 0, 4 * count);
    }
  }
}

// Draws the strokes, then the sprites (which `sprites_fit`), clipped to the layer, and marks their tiles. Of what lies
// under, nothing is left in a pixel that something above touches: what is above looks as if it were alone. So what lies
// under is drawn apart, and goes where nothing else is.
void draw_scene(const Scene& scene, const Layer& layer) {
  const std::size_t under = std::min(scene.under_count, scene.stroke_count);
  draw_strokes(scene, under, scene.stroke_count, layer);
  draw_sprites(scene, layer);
  if (under == 0) return;
  const Layer apart = scratch_layer(layer.rows, layer.columns);
  draw_strokes(scene, 0, under, apart);
  put_below(apart, layer);
  clear_layer(apart);
}

}  // namespace guidance
