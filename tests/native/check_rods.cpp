// Rods under the sanitizers: one that is there, strips that leave the picture, metal, noise, what is not finite.
#include "check_rods.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "rod.hpp"

namespace {

constexpr std::size_t kSide = 400;
constexpr double kWidth = 14.0, kTip = 260.0, kRow = 200.0;

// A solid rod along a row of pixels that ends at a column, in light that a little noise is on.
std::vector<float> picture_of_rod(std::mt19937_64& random) {
  std::normal_distribution<double> noise(0.0, 10.0);
  std::vector<float> pixels(kSide * kSide);
  for (std::size_t row = 0; row < kSide; ++row)
    for (std::size_t column = 0; column < kSide; ++column) {
      const double off = (static_cast<double>(row) - kRow) / (0.5 * kWidth);
      const double chord = static_cast<double>(column) <= kTip ? std::sqrt(std::max(1.0 - off * off, 0.0)) : 0.0;
      pixels[row * kSide + column] = static_cast<float>(2000.0 * std::exp(-chord) + noise(random));
    }
  return pixels;
}

guidance::RodRequest request_for(const void* pixels, guidance::PixelType type) {
  guidance::RodRequest request{};
  request.picture = {pixels, kSide, kSide, type};
  request.bounds = {0.0, 0.0, kSide - 1.0, kSide - 1.0};
  request.logarithm = true;
  request.positive = true;
  request.strip = {{-40.0, kRow + 8.0}, {1.0, 0.0}, 420.0, {kWidth, kWidth}, 2.8, 0.1, 87, 61, 4.8, 1.6, 3, 2};
  request.least = 0.2;
  return request;
}

}  // namespace

void check_rods(std::mt19937_64& random, void (*check)(bool, const char*)) {
  const std::vector<float> pixels = picture_of_rod(random);
  std::array<guidance::Rod, guidance::kMostRods> rods{};
  const guidance::RodRequest plain = request_for(pixels.data(), guidance::PixelType::kF32);
  check(guidance::rods_along(plain, rods.data()) == 1, "one rod is found");
  check(std::abs(rods[0].end - 40.0 - kTip) < 1.5 && rods[0].tip == guidance::TipState::kKnown, "its tip");
  check(std::abs(rods[0].curve.y(150.0) + 8.0) < 0.1 && rods[0].goes_on, "its middle, and where it comes from");
  check(std::abs(rods[0].width - kWidth) < 1.5 && rods[0].score > 0.98, "its width and likeness");
  std::vector<std::uint16_t> whole(pixels.begin(), pixels.end());
  check(guidance::rods_along(request_for(whole.data(), guidance::PixelType::kU16), rods.data()) == 1, "16 bits");

  guidance::RodRequest turned = plain;
  for (int step = 0; step < 48; ++step) {
    const double angle = 0.13 * step;
    turned.strip.along = {std::cos(angle), std::sin(angle)};
    turned.strip.origin = {9.0 * step - 30.0, 400.0 - 7.0 * step};
    check(guidance::rods_along(turned, rods.data()) <= guidance::kMostRods, "strips anywhere");
  }
  turned.strip.origin = {1e7, -1e7};
  check(guidance::rods_along(turned, rods.data()) == 0, "a strip beside the picture");

  std::vector<std::uint8_t> cells(100 * 100, 0);
  for (std::size_t at = 0; at < cells.size(); ++at) cells[at] = at % 100 > 60 && at % 100 < 68 ? 1 : 0;
  guidance::RodRequest metal = plain;
  metal.metal = {cells.data(), 100, 100};
  check(guidance::rods_along(metal, rods.data()) == 1 && rods[0].tip != guidance::TipState::kKnown, "a tip on metal");
  const std::uint8_t everywhere = 1;
  metal.metal = {&everywhere, 1, 1};
  check(guidance::rods_along(metal, rods.data()) == 0, "metal all over");

  for (const float value : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 0.0F,
                            std::numeric_limits<float>::max(), std::numeric_limits<float>::lowest()}) {
    const std::vector<float> flat(kSide * kSide, value);
    guidance::RodRequest empty = request_for(flat.data(), guidance::PixelType::kF32);
    for (const bool logarithm : {true, false}) {
      empty.logarithm = logarithm;
      empty.least_of_range = logarithm ? 0.0 : 0.06;
      empty.least = logarithm ? 0.2 : 0.0;
      check(guidance::rods_along(empty, rods.data()) == 0, "a picture that shows nothing");
    }
  }
}
