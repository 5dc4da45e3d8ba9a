// Kernels without Python: raw pointers and sizes; every function is documented where it is defined.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace guidance {

// Instruction-set clones chosen at load time; elsewhere the compiler's baseline serves. Not under the address
// sanitizer: its run-time isn't ready when the loader asks the resolvers.
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__)
#define GUIDANCE_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define GUIDANCE_CLONES
#endif

const char* instruction_set();

// CRC-64/ECMA-182.
enum class Crc64Variant { kSlicing, kPclmul, kVpclmul512, kPmull };
struct Crc64Choice {
  Crc64Variant variant;
  std::string_view name;
};
constexpr std::array<Crc64Choice, 4> kCrc64Choices{{{Crc64Variant::kVpclmul512, "vpclmul512"},
                                                    {Crc64Variant::kPclmul, "pclmul"},
                                                    {Crc64Variant::kPmull, "pmull"},
                                                    {Crc64Variant::kSlicing, "slicing"}}};
bool crc64_available(Crc64Variant variant);
std::uint64_t crc64(const std::uint8_t* data, std::size_t size, std::uint64_t crc);
std::uint64_t crc64_with(Crc64Variant variant, const std::uint8_t* data, std::size_t size, std::uint64_t crc);
std::uint64_t crc64_zeros(std::uint64_t crc, std::uint64_t size);
std::uint64_t crc64_combine(std::uint64_t crc_a, std::uint64_t crc_b, std::uint64_t size_b);

// What moves a block on by one row of a picture, for crc64_fold_rows.
struct Crc64Row {
  std::size_t bytes;
  std::uint64_t low, high;
};
constexpr std::size_t kFoldBytes = 128;
Crc64Row crc64_row(std::size_t bytes);
bool crc64_fold_rows(const std::uint8_t* block, std::size_t rows, const Crc64Row& row, std::uint8_t* sum);

// Arrays may lie at any address (they are cut out of received messages), so pixels and numbers travel as void pointers.
void project_points(const void* points_mm, std::size_t count, const void* pixel_from_patient, void* uvw);

enum class PixelType { kU8, kI8, kU16, kI16, kF32 };
struct Picture {
  const void* pixels;
  std::size_t rows;
  std::size_t columns;
  PixelType type;
};
struct Window {
  double low;
  double high;
};
Window window_levels(const Picture& picture);
void grey_row(const Picture& picture, std::size_t row, std::size_t column, std::size_t count, const Window& window,
              std::uint8_t* grey);
constexpr std::size_t kLargestStep = 64;
void grey8(const Picture& picture, const Window& window, std::size_t step, std::uint8_t* out);
void rgb_from_grey(const std::uint8_t* grey, std::size_t count, std::uint8_t* rgb);

// The layer remembers by tiles what was drawn, so that only that is cleared, burned in and summed.
constexpr std::size_t kTileRows = 16;
constexpr std::size_t kTileColumns = 32;
constexpr std::size_t kStrokeNumbers = 8;
constexpr std::size_t kSpriteNumbers = 8;

struct Layer {
  std::uint8_t* rgba;
  std::uint8_t* dirty;
  std::size_t rows;
  std::size_t columns;
  std::size_t tile_rows() const { return (rows + kTileRows - 1) / kTileRows; }
  std::size_t tile_columns() const { return (columns + kTileColumns - 1) / kTileColumns; }
};
struct Scene {
  const void* strokes;
  std::size_t stroke_count;
  const std::uint8_t* sprites;
  std::size_t sprite_bytes;
  const void* sprite_table;
  std::size_t sprite_count;
  std::size_t under_count = 0;  // strokes, from the first, that lie under all the others and the sprites
};
bool sprites_fit(const Scene& scene);
void clear_layer(const Layer& layer);
void draw_scene(const Scene& scene, const Layer& layer);

struct FrameCrcs {
  std::uint64_t rgb;
  std::uint64_t layer;
};
FrameCrcs compose_frame(const Picture& picture, const Window& window, const Scene& scene, const Layer& layer,
                        std::uint8_t* rgb);

}  // namespace guidance
