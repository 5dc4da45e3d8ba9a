// One frame in one pass: a band of rows is windowed, burned in and summed while it lies in the cache.
#include <algorithm>
#include <cstring>

#include "kernels.hpp"

namespace guidance {
namespace {

constexpr std::size_t kChunk = 2048;
constexpr std::size_t kWidestFolded = 4096;

// ((255 - alpha) * below + alpha * above) / 255, rounded.
inline std::uint8_t mixed(std::uint8_t below, std::uint8_t above, std::uint8_t alpha) {
  const unsigned sum = static_cast<unsigned>(below) * (255U - alpha) + static_cast<unsigned>(above) * alpha + 127U;
  return static_cast<std::uint8_t>(sum / 255U);
}

// Whether any of 32 bytes is set; loads of their own, for through an array on the stack each costs a stall.
inline bool any_bit(const std::uint8_t* bytes) {
  std::uint64_t a, b, c, d;
  std::memcpy(&a, bytes, 8);
  std::memcpy(&b, bytes + 8, 8);
  std::memcpy(&c, bytes + 16, 8);
  std::memcpy(&d, bytes + 24, 8);
  return (a | b | c | d) != 0;
}

void burn_in(const std::uint8_t* rgba, std::size_t count, std::uint8_t* rgb) {
  constexpr std::size_t kGroup = 8;
  for (std::size_t first = 0; first < count; first += kGroup) {
    const std::size_t end = std::min(first + kGroup, count);
    if (end - first == kGroup && !any_bit(rgba + 4 * first)) continue;
    for (std::size_t i = first; i < end; ++i) {
      const std::uint8_t alpha = rgba[4 * i + 3];
      if (alpha == 0) continue;
      for (std::size_t c = 0; c < 3; ++c) rgb[3 * i + c] = mixed(rgb[3 * i + c], rgba[4 * i + c], alpha);
    }
  }
}

// Goes on from `crc` over one band of the layer. Where the processor can, only the drawn tiles are read.
std::uint64_t band_crc64(const Layer& layer, std::size_t first_row, std::size_t rows, const std::uint8_t* dirty,
                         const Crc64Row& row, std::uint64_t crc) {
  static_assert(4 * kTileColumns == kFoldBytes);
  const std::uint8_t* band = layer.rgba + first_row * row.bytes;
  std::uint8_t folded[4 * kWidestFolded];
  bool can = layer.columns % kTileColumns == 0 && layer.columns <= kWidestFolded;
  if (can) std::memset(folded, 0, row.bytes);
  for (std::size_t tile = 0; can && tile < layer.tile_columns(); ++tile)
    if (dirty[tile]) can = crc64_fold_rows(band + tile * kFoldBytes, rows, row, folded + tile * kFoldBytes);
  if (!can) return crc64(band, rows * row.bytes, crc);
  return crc64(folded, row.bytes, crc64_zeros(crc, (rows - 1) * row.bytes));
}

}  // namespace

// Clears what the layer shows, draws the scene into it, writes the windowed picture with the layer burned in to `rgb`
// (rows, columns, 3), and sums both.
FrameCrcs compose_frame(const Picture& picture, const Window& window, const Scene& scene, const Layer& layer,
                        std::uint8_t* rgb) {
  clear_layer(layer);
  draw_scene(scene, layer);
  FrameCrcs crcs{0, 0};
  std::uint64_t clean_bytes = 0;
  const Crc64Row row_bytes = crc64_row(4 * layer.columns);
  std::uint8_t grey[kChunk];
  for (std::size_t tile_row = 0; tile_row < layer.tile_rows(); ++tile_row) {
    const std::uint8_t* dirty = layer.dirty + tile_row * layer.tile_columns();
    const bool drawn = std::any_of(dirty, dirty + layer.tile_columns(), [](std::uint8_t d) { return d != 0; });
    const std::size_t first_row = tile_row * kTileRows;
    const std::size_t end_row = std::min(first_row + kTileRows, layer.rows);
    for (std::size_t row = first_row; row < end_row; ++row) {
      const std::uint8_t* layer_row = layer.rgba + 4 * row * layer.columns;
      std::uint8_t* rgb_row = rgb + 3 * row * layer.columns;
      for (std::size_t column = 0; column < layer.columns; column += kChunk) {
        const std::size_t count = std::min(kChunk, layer.columns - column);
        grey_row(picture, row, column, count, window, grey);
        rgb_from_grey(grey, count, rgb_row + 3 * column);
      }
      if (!drawn) continue;
      for (std::size_t tile = 0; tile < layer.tile_columns(); ++tile) {
        if (!dirty[tile]) continue;
        const std::size_t column = tile * kTileColumns;
        burn_in(layer_row + 4 * column, std::min(kTileColumns, layer.columns - column), rgb_row + 3 * column);
      }
    }
    const std::size_t pixels = (end_row - first_row) * layer.columns;
    crcs.rgb = crc64(rgb + 3 * first_row * layer.columns, 3 * pixels, crcs.rgb);
    if (drawn) {
      crcs.layer =
          band_crc64(layer, first_row, end_row - first_row, dirty, row_bytes, crc64_zeros(crcs.layer, clean_bytes));
      clean_bytes = 0;
    } else {
      clean_bytes += 4 * pixels;
    }
  }
  crcs.layer = crc64_zeros(crcs.layer, clean_bytes);
  return crcs;
}

}  // namespace guidance
