// CRC-64/ECMA-182: polynomial 0x42F0E1EBA9EA3693, not reflected, initial 0, no final xor (OpenIGTLink header).
#include <array>

#include "kernels.hpp"

namespace guidance {
namespace {

constexpr std::uint64_t kPolynomial = 0x42F0E1EBA9EA3693ULL;

constexpr std::array<std::uint64_t, 256> make_table() {
  std::array<std::uint64_t, 256> table{};
  for (std::uint64_t i = 0; i < 256; ++i) {
    std::uint64_t crc = i << 56;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & (1ULL << 63)) ? (crc << 1) ^ kPolynomial : crc << 1;
    table[i] = crc;
  }
  return table;
}

constexpr auto kTable = make_table();

}  // namespace

std::uint64_t crc64(const std::uint8_t* data, std::size_t size, std::uint64_t crc) {
  for (std::size_t i = 0; i < size; ++i) crc = (crc << 8) ^ kTable[(crc >> 56) ^ data[i]];
  return crc;
}

}  // namespace guidance
