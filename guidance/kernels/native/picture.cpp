// From a detector's numbers to 8-bit grey: the window, its robust limits, and grey to RGB.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels.hpp"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace guidance {
namespace {

constexpr std::size_t kSamplesPerAxis = 128;
// Ranks left out at both ends: half a percent, so that neither dead pixels nor a marker's edge set the window.
constexpr std::size_t kLeftOutPerThousand = 5;

template <class T>
inline T load(const std::uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

std::size_t pixel_bytes(PixelType type) {
  switch (type) {
    case PixelType::kU8:
    case PixelType::kI8:
      return 1;
    case PixelType::kU16:
    case PixelType::kI16:
      return 2;
    case PixelType::kF32:
      return 4;
  }
  return 0;
}

// NaN compares false and becomes 0; everything is clamped before it is made an integer.
template <class T>
GUIDANCE_CLONES void windowed(const std::uint8_t* __restrict from, std::size_t count, float low, float scale,
                              std::uint8_t* __restrict grey) {
  for (std::size_t i = 0; i < count; ++i) {
    float value = (static_cast<float>(load<T>(from + sizeof(T) * i)) - low) * scale + 0.5F;
    value = value > 0.0F ? value : 0.0F;
    value = value < 255.0F ? value : 255.0F;
    grey[i] = static_cast<std::uint8_t>(static_cast<std::int32_t>(value));
  }
}

// An unsigned number that sorts like the pixel.
std::uint32_t sort_key(const std::uint8_t* from, PixelType type) {
  switch (type) {
    case PixelType::kU8:
      return *from;
    case PixelType::kI8:
      return *from ^ 0x80U;
    case PixelType::kU16:
      return load<std::uint16_t>(from);
    case PixelType::kI16:
      return load<std::uint16_t>(from) ^ 0x8000U;
    case PixelType::kF32: {
      const auto bits = load<std::uint32_t>(from);
      return bits ^ ((bits >> 31) ? 0xFFFFFFFFU : 0x80000000U);
    }
  }
  return 0;
}

double value_of_key(std::uint32_t key, PixelType type) {
  switch (type) {
    case PixelType::kU8:
    case PixelType::kU16:
      return key;
    case PixelType::kI8:
      return static_cast<double>(key) - 128.0;
    case PixelType::kI16:
      return static_cast<double>(key) - 32768.0;
    case PixelType::kF32: {
      const std::uint32_t bits = key ^ ((key >> 31) ? 0x80000000U : 0xFFFFFFFFU);
      float value;
      std::memcpy(&value, &bits, sizeof value);
      return value;
    }
  }
  return 0.0;
}

// The key of a rank, digit by digit: no allocation, no bad case.
std::uint32_t key_of_rank(const std::uint32_t* keys, std::size_t count, std::size_t rank, int digits) {
  std::uint32_t prefix = 0;
  for (int shift = 8 * (digits - 1); shift >= 0; shift -= 8) {
    std::uint32_t bins[256] = {};
    const std::uint64_t above = ~((std::uint64_t{256} << shift) - 1);
    for (std::size_t i = 0; i < count; ++i)
      if (((keys[i] ^ prefix) & above) == 0) ++bins[(keys[i] >> shift) & 255U];
    std::uint32_t digit = 0;
    while (rank >= bins[digit]) rank -= bins[digit++];
    prefix |= digit << shift;
  }
  return prefix;
}

#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target("ssse3"))) std::size_t triple_ssse3(const std::uint8_t* grey, std::size_t count,
                                                          std::uint8_t* rgb) {
  const __m128i first = _mm_setr_epi8(0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5);
  const __m128i second = _mm_setr_epi8(5, 5, 6, 6, 6, 7, 7, 7, 8, 8, 8, 9, 9, 9, 10, 10);
  const __m128i third = _mm_setr_epi8(10, 11, 11, 11, 12, 12, 12, 13, 13, 13, 14, 14, 14, 15, 15, 15);
  std::size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m128i g = _mm_loadu_si128(reinterpret_cast<const __m128i*>(grey + i));
    auto* to = reinterpret_cast<__m128i*>(rgb + 3 * i);
    _mm_storeu_si128(to, _mm_shuffle_epi8(g, first));
    _mm_storeu_si128(to + 1, _mm_shuffle_epi8(g, second));
    _mm_storeu_si128(to + 2, _mm_shuffle_epi8(g, third));
  }
  return i;
}
#endif

}  // namespace

// `count` grey values of one row from `column` on; 8 bit unsigned stay as they are whatever the window.
void grey_row(const Picture& picture, std::size_t row, std::size_t column, std::size_t count, const Window& window,
              std::uint8_t* grey) {
  const auto low = static_cast<float>(window.low);
  const auto scale = static_cast<float>(255.0 / (window.high - window.low));
  const auto* from =
      static_cast<const std::uint8_t*>(picture.pixels) + (row * picture.columns + column) * pixel_bytes(picture.type);
  switch (picture.type) {
    case PixelType::kU8:
      std::memcpy(grey, from, count);
      break;
    case PixelType::kI8:
      windowed<std::int8_t>(from, count, low, scale, grey);
      break;
    case PixelType::kU16:
      windowed<std::uint16_t>(from, count, low, scale, grey);
      break;
    case PixelType::kI16:
      windowed<std::int16_t>(from, count, low, scale, grey);
      break;
    case PixelType::kF32:
      windowed<float>(from, count, low, scale, grey);
      break;
  }
}

// Each grey value three times.
void rgb_from_grey(const std::uint8_t* grey, std::size_t count, std::uint8_t* rgb) {
  std::size_t i = 0;
#if defined(__x86_64__) && defined(__GNUC__)
  static const bool has_ssse3 = __builtin_cpu_supports("ssse3");
  if (has_ssse3) i = triple_ssse3(grey, count, rgb);
#elif defined(__aarch64__)
  for (; i + 16 <= count; i += 16) {
    const uint8x16_t g = vld1q_u8(grey + i);
    vst3q_u8(rgb + 3 * i, uint8x16x3_t{{g, g, g}});
  }
#endif
  for (; i < count; ++i) rgb[3 * i] = rgb[3 * i + 1] = rgb[3 * i + 2] = grey[i];
}

// Grey limits that half a percent of a strided sample lies below and above; (0, 255) for 8 bit unsigned, (0, 1) where
// nothing is finite. Always low < high.
Window window_levels(const Picture& picture) {
  if (picture.type == PixelType::kU8) return {0.0, 255.0};
  const std::size_t row_step = (picture.rows + kSamplesPerAxis - 1) / kSamplesPerAxis;
  const std::size_t column_step = (picture.columns + kSamplesPerAxis - 1) / kSamplesPerAxis;
  const std::size_t bytes = pixel_bytes(picture.type);
  const auto* pixels = static_cast<const std::uint8_t*>(picture.pixels);
  std::uint32_t keys[kSamplesPerAxis * kSamplesPerAxis];
  std::size_t count = 0;
  for (std::size_t row = row_step / 2; row < picture.rows; row += row_step)
    for (std::size_t column = column_step / 2; column < picture.columns; column += column_step) {
      const std::uint8_t* from = pixels + (row * picture.columns + column) * bytes;
      if (picture.type == PixelType::kF32 && !std::isfinite(load<float>(from))) continue;
      keys[count++] = sort_key(from, picture.type);
    }
  if (count == 0) return {0.0, 1.0};
  const std::size_t left_out = count * kLeftOutPerThousand / 1000;
  const auto digits = static_cast<int>(bytes);
  const double low = value_of_key(key_of_rank(keys, count, left_out, digits), picture.type);
  const double high = value_of_key(key_of_rank(keys, count, count - 1 - left_out, digits), picture.type);
  return high > low ? Window{low, high} : Window{low, low + std::max(1.0, std::abs(low) * 1e-3)};
}

// The picture in grey, shrunk by a whole number: the mean of each step x step block, rounded; a rest is left out.
void grey8(const Picture& picture, const Window& window, std::size_t step, std::uint8_t* out) {
  const std::size_t rows = picture.rows / step;
  const std::size_t columns = picture.columns / step;
  if (step == 1) {
    for (std::size_t row = 0; row < rows; ++row) grey_row(picture, row, 0, columns, window, out + row * columns);
    return;
  }
  constexpr std::size_t kChunk = 1024;
  std::uint8_t grey[kChunk];
  const std::size_t chunk = std::max<std::size_t>(kChunk / step, 1);
  const auto area = static_cast<std::uint32_t>(step * step);
  for (std::size_t row = 0; row < rows; ++row)
    for (std::size_t first = 0; first < columns; first += chunk) {
      const std::size_t count = std::min(chunk, columns - first);
      std::uint32_t sums[kChunk] = {};
      for (std::size_t line = 0; line < step; ++line) {
        grey_row(picture, row * step + line, first * step, count * step, window, grey);
        for (std::size_t i = 0; i < count; ++i)
          for (std::size_t k = 0; k < step; ++k) sums[i] += grey[i * step + k];
      }
      for (std::size_t i = 0; i < count; ++i)
        out[row * columns + first + i] = static_cast<std::uint8_t>((sums[i] + area / 2) / area);
    }
}

}  // namespace guidance
