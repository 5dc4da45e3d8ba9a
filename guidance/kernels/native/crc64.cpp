// CRC-64/ECMA-182: polynomial 0x42F0E1EBA9EA3693, not reflected, initial 0, no final xor (OpenIGTLink header).
// Folding after Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ" (Intel, 2009): a block
// that stands n bits before another may be replaced by its product with x^n mod P added to that other.
#include <cstring>

#include "kernels.hpp"

#if defined(__x86_64__) && defined(__GNUC__)
#define GUIDANCE_X86 1
#include <immintrin.h>
#elif defined(__aarch64__) && defined(__linux__)
#define GUIDANCE_ARM 1
#include <arm_neon.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace guidance {
namespace {

constexpr std::uint64_t kPolynomial = 0x42F0E1EBA9EA3693ULL;

constexpr std::uint64_t times_x(std::uint64_t value) { return (value << 1) ^ ((value >> 63) ? kPolynomial : 0); }

constexpr std::uint64_t times(std::uint64_t a, std::uint64_t b) {
  std::uint64_t product = 0;
  for (int bit = 63; bit >= 0; --bit) product = times_x(product) ^ (((a >> bit) & 1) ? b : 0);
  return product;
}

// x^(2^k) mod P for k = 0 .. 63.
constexpr auto kSquares = [] {
  std::array<std::uint64_t, 64> squares{};
  squares[0] = 2;
  for (std::size_t k = 1; k < squares.size(); ++k) squares[k] = times(squares[k - 1], squares[k - 1]);
  return squares;
}();

constexpr std::uint64_t x_to_the(std::uint64_t exponent) {
  std::uint64_t power = 1;
  for (std::size_t k = 0; k < 64; ++k)
    if ((exponent >> k) & 1) power = times(power, kSquares[k]);
  return power;
}

// kTables[k][b]: the CRC of byte b followed by k zero bytes.
constexpr auto kTables = [] {
  std::array<std::array<std::uint64_t, 256>, 8> tables{};
  for (std::uint64_t byte = 0; byte < 256; ++byte) {
    std::uint64_t crc = byte << 56;
    for (int bit = 0; bit < 8; ++bit) crc = times_x(crc);
    tables[0][byte] = crc;
  }
  for (std::size_t k = 1; k < 8; ++k)
    for (std::size_t byte = 0; byte < 256; ++byte)
      tables[k][byte] = (tables[k - 1][byte] << 8) ^ tables[0][tables[k - 1][byte] >> 56];
  return tables;
}();

std::uint64_t big_endian(const std::uint8_t* bytes) {
  std::uint64_t value = 0;
  for (int i = 0; i < 8; ++i) value = (value << 8) | bytes[i];
  return value;
}

std::uint64_t slicing(const std::uint8_t* data, std::size_t size, std::uint64_t crc) {
  for (; size >= 8; data += 8, size -= 8) {
    const std::uint64_t x = crc ^ big_endian(data);
    crc = kTables[7][x >> 56] ^ kTables[6][(x >> 48) & 255] ^ kTables[5][(x >> 40) & 255] ^
          kTables[4][(x >> 32) & 255] ^ kTables[3][(x >> 24) & 255] ^ kTables[2][(x >> 16) & 255] ^
          kTables[1][(x >> 8) & 255] ^ kTables[0][x & 255];
  }
  for (; size > 0; ++data, --size) crc = (crc << 8) ^ kTables[0][(crc >> 56) ^ *data];
  return crc;
}

// What multiplies the two halves of a 128-bit block that is moved on by so many bytes.
template <std::uint64_t kBytes>
struct Fold {
  static constexpr std::uint64_t kLow = x_to_the(8 * kBytes);
  static constexpr std::uint64_t kHigh = x_to_the(8 * kBytes + 64);
};

#if GUIDANCE_X86

#define GUIDANCE_PCLMUL __attribute__((target("pclmul,ssse3")))
#define GUIDANCE_VPCLMUL __attribute__((target("avx512f,avx512bw,vpclmulqdq")))

GUIDANCE_PCLMUL inline __m128i reversal() { return _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }

GUIDANCE_PCLMUL inline __m128i load_block(const std::uint8_t* data) {
  return _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(data)), reversal());
}

template <std::uint64_t kBytes>
GUIDANCE_PCLMUL inline __m128i moved(__m128i block) {
  const __m128i k =
      _mm_set_epi64x(static_cast<long long>(Fold<kBytes>::kHigh), static_cast<long long>(Fold<kBytes>::kLow));
  return _mm_xor_si128(_mm_clmulepi64_si128(block, k, 0x11), _mm_clmulepi64_si128(block, k, 0x00));
}

GUIDANCE_PCLMUL std::uint64_t pclmul(const std::uint8_t* data, std::size_t size, std::uint64_t crc) {
  constexpr std::size_t kLanes = 8;
  constexpr std::size_t kStride = 16 * kLanes;
  if (size < kStride) return slicing(data, size, crc);
  __m128i lane[kLanes];
  for (std::size_t i = 0; i < kLanes; ++i) lane[i] = load_block(data + 16 * i);
  lane[0] = _mm_xor_si128(lane[0], _mm_set_epi64x(static_cast<long long>(crc), 0));
  for (data += kStride, size -= kStride; size >= kStride; data += kStride, size -= kStride)
    for (std::size_t i = 0; i < kLanes; ++i)
      lane[i] = _mm_xor_si128(moved<kStride>(lane[i]), load_block(data + 16 * i));
  __m128i sum = lane[0];
  for (std::size_t i = 1; i < kLanes; ++i) sum = _mm_xor_si128(moved<16>(sum), lane[i]);
  alignas(16) std::uint8_t rest[16];
  _mm_store_si128(reinterpret_cast<__m128i*>(rest), _mm_shuffle_epi8(sum, reversal()));
  return slicing(data, size, slicing(rest, sizeof rest, 0));
}

GUIDANCE_PCLMUL void fold_rows(const std::uint8_t* block, std::size_t rows, const Crc64Row& row, std::uint8_t* sum) {
  constexpr std::size_t kLanes = kFoldBytes / 16;
  const __m128i k = _mm_set_epi64x(static_cast<long long>(row.high), static_cast<long long>(row.low));
  __m128i lane[kLanes];
  for (std::size_t i = 0; i < kLanes; ++i) lane[i] = load_block(block + 16 * i);
  for (std::size_t r = 1; r < rows; ++r) {
    block += row.bytes;
    for (std::size_t i = 0; i < kLanes; ++i)
      lane[i] =
          _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(lane[i], k, 0x11), _mm_clmulepi64_si128(lane[i], k, 0x00)),
                        load_block(block + 16 * i));
  }
  for (std::size_t i = 0; i < kLanes; ++i)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(sum + 16 * i), _mm_shuffle_epi8(lane[i], reversal()));
}

// (Not by a broadcast: GCC 12's own header warns there, its bug 105593.)
GUIDANCE_VPCLMUL inline __m512i wide_pair(std::uint64_t high, std::uint64_t low) {
  const auto h = static_cast<long long>(high);
  const auto l = static_cast<long long>(low);
  return _mm512_set_epi64(h, l, h, l, h, l, h, l);
}

GUIDANCE_VPCLMUL inline __m512i wide_load(const std::uint8_t* data, __m512i order) {
  return _mm512_shuffle_epi8(_mm512_loadu_si512(data), order);
}

// Three operands are added in one instruction (0x96: the truth table of a ^ b ^ c).
template <std::uint64_t kBytes>
GUIDANCE_VPCLMUL inline __m512i wide_moved_onto(__m512i block, __m512i onto) {
  const __m512i k = wide_pair(Fold<kBytes>::kHigh, Fold<kBytes>::kLow);
  return _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(block, k, 0x11), _mm512_clmulepi64_epi128(block, k, 0x00),
                                   onto, 0x96);
}

GUIDANCE_VPCLMUL std::uint64_t vpclmul512(const std::uint8_t* data, std::size_t size, std::uint64_t crc) {
  constexpr std::size_t kLanes = 4;
  constexpr std::size_t kStride = 64 * kLanes;
  if (size < kStride) return pclmul(data, size, crc);
  const __m512i order = wide_pair(0x0001020304050607, 0x08090A0B0C0D0E0F);
  __m512i lane[kLanes];
  for (std::size_t i = 0; i < kLanes; ++i) lane[i] = wide_load(data + 64 * i, order);
  lane[0] = _mm512_xor_si512(lane[0], _mm512_set_epi64(0, 0, 0, 0, 0, 0, static_cast<long long>(crc), 0));
  for (data += kStride, size -= kStride; size >= kStride; data += kStride, size -= kStride)
    for (std::size_t i = 0; i < kLanes; ++i)
      lane[i] = wide_moved_onto<kStride>(lane[i], wide_load(data + 64 * i, order));
  __m512i sum = lane[0];
  for (std::size_t i = 1; i < kLanes; ++i) sum = wide_moved_onto<64>(sum, lane[i]);
  alignas(64) std::uint8_t rest[64];
  _mm512_store_si512(rest, _mm512_shuffle_epi8(sum, order));
  return pclmul(data, size, slicing(rest, sizeof rest, 0));
}

#elif GUIDANCE_ARM

#define GUIDANCE_PMULL __attribute__((target("+crypto")))

GUIDANCE_PMULL inline uint8x16_t reversed(uint8x16_t bytes) {
  const uint8x16_t halves = vrev64q_u8(bytes);
  return vextq_u8(halves, halves, 8);
}

template <std::uint64_t kBytes>
GUIDANCE_PMULL inline uint8x16_t moved_onto(uint8x16_t block, uint8x16_t onto) {
  const poly64x2_t halves = vreinterpretq_p64_u8(block);
  const poly128_t low = vmull_p64(vgetq_lane_p64(halves, 0), Fold<kBytes>::kLow);
  const poly128_t high = vmull_p64(vgetq_lane_p64(halves, 1), Fold<kBytes>::kHigh);
  return veorq_u8(veorq_u8(vreinterpretq_u8_p128(low), vreinterpretq_u8_p128(high)), onto);
}

GUIDANCE_PMULL std::uint64_t pmull(const std::uint8_t* data, std::size_t size, std::uint64_t crc) {
  constexpr std::size_t kLanes = 8;
  constexpr std::size_t kStride = 16 * kLanes;
  if (size < kStride) return slicing(data, size, crc);
  uint8x16_t lane[kLanes];
  for (std::size_t i = 0; i < kLanes; ++i) lane[i] = reversed(vld1q_u8(data + 16 * i));
  lane[0] = veorq_u8(lane[0], vreinterpretq_u8_u64(vcombine_u64(vcreate_u64(0), vcreate_u64(crc))));
  for (data += kStride, size -= kStride; size >= kStride; data += kStride, size -= kStride)
    for (std::size_t i = 0; i < kLanes; ++i) lane[i] = moved_onto<kStride>(lane[i], reversed(vld1q_u8(data + 16 * i)));
  uint8x16_t sum = lane[0];
  for (std::size_t i = 1; i < kLanes; ++i) sum = moved_onto<16>(sum, lane[i]);
  std::uint8_t rest[16];
  vst1q_u8(rest, reversed(sum));
  return slicing(data, size, slicing(rest, sizeof rest, 0));
}

GUIDANCE_PMULL void fold_rows(const std::uint8_t* block, std::size_t rows, const Crc64Row& row, std::uint8_t* sum) {
  for (std::size_t i = 0; i < kFoldBytes; i += 16) {
    uint8x16_t lane = reversed(vld1q_u8(block + i));
    for (std::size_t r = 1; r < rows; ++r) {
      const poly64x2_t halves = vreinterpretq_p64_u8(lane);
      const poly128_t low = vmull_p64(vgetq_lane_p64(halves, 0), row.low);
      const poly128_t high = vmull_p64(vgetq_lane_p64(halves, 1), row.high);
      lane = veorq_u8(veorq_u8(vreinterpretq_u8_p128(low), vreinterpretq_u8_p128(high)),
                      reversed(vld1q_u8(block + i + r * row.bytes)));
    }
    vst1q_u8(sum + i, reversed(lane));
  }
}

#else

void fold_rows(const std::uint8_t*, std::size_t, const Crc64Row&, std::uint8_t*) {}

#endif

using Function = std::uint64_t (*)(const std::uint8_t*, std::size_t, std::uint64_t);

Function function_of(Crc64Variant variant) {
  switch (variant) {
#if GUIDANCE_X86
    case Crc64Variant::kPclmul:
      return pclmul;
    case Crc64Variant::kVpclmul512:
      return vpclmul512;
#elif GUIDANCE_ARM
    case Crc64Variant::kPmull:
      return pmull;
#endif
    default:
      return slicing;
  }
}

Function fastest() {
  for (const Crc64Choice& choice : kCrc64Choices)
    if (crc64_available(choice.variant)) return function_of(choice.variant);
  return slicing;
}

}  // namespace

// Whether this processor (and its operating system) can run a variant.
bool crc64_available(Crc64Variant variant) {
  switch (variant) {
    case Crc64Variant::kSlicing:
      return true;
#if GUIDANCE_X86
    case Crc64Variant::kPclmul:
      return __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("ssse3");
    case Crc64Variant::kVpclmul512:
      return __builtin_cpu_supports("vpclmulqdq") && __builtin_cpu_supports("avx512bw") &&
             crc64_available(Crc64Variant::kPclmul);
#elif GUIDANCE_ARM
    case Crc64Variant::kPmull:
      return (getauxval(AT_HWCAP) & HWCAP_PMULL) != 0;
#endif
    default:
      return false;
  }
}

// Goes on from `crc` over `size` bytes with the fastest variant of this processor.
std::uint64_t crc64(const std::uint8_t* data, std::size_t size, std::uint64_t crc) {
  static const Function function = fastest();
  return function(data, size, crc);
}

// The same with a named variant, which must be available.
std::uint64_t crc64_with(Crc64Variant variant, const std::uint8_t* data, std::size_t size, std::uint64_t crc) {
  return function_of(variant)(data, size, crc);
}

// Goes on from `crc` over `size` zero bytes (fewer than 2^61) without reading any: each multiplies by x^8.
std::uint64_t crc64_zeros(std::uint64_t crc, std::uint64_t size) {
  for (std::size_t k = 0; k + 3 < kSquares.size(); ++k)
    if ((size >> k) & 1) crc = times(crc, kSquares[k + 3]);
  return crc;
}

// The CRC of a followed by b, from theirs.
std::uint64_t crc64_combine(std::uint64_t crc_a, std::uint64_t crc_b, std::uint64_t size_b) {
  return crc64_zeros(crc_a, size_b) ^ crc_b;
}

// For a picture whose rows have so many bytes.
Crc64Row crc64_row(std::size_t bytes) { return {bytes, x_to_the(8 * bytes), x_to_the(8 * bytes + 64)}; }

// Replaces a block of `rows` (>= 1) rows by kFoldBytes bytes that, standing where its last row stands, with zeros where
// the others stood, give the same CRC: what is empty beside the block need not be read. False, and nothing done, where
// the processor has no carry-less multiplication.
bool crc64_fold_rows(const std::uint8_t* block, std::size_t rows, const Crc64Row& row, std::uint8_t* sum) {
  static const bool can = crc64_available(Crc64Variant::kPclmul) || crc64_available(Crc64Variant::kPmull);
  if (can) fold_rows(block, rows, row, sum);
  return can;
}

}  // namespace guidance
