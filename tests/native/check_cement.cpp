// The cement tracker under the sanitizers: streams of pictures as no patient makes them, told with nonsense, and the
// numbers that its loops are made of.
#include "check_cement.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "cement_tracker.hpp"
#include "exponential.hpp"

namespace {

namespace cement = guidance::cement;
using Check = void (*)(bool, const char*);

constexpr int kStreams = 60, kFrames = 26;
constexpr std::array kTypes{guidance::PixelType::kU8, guidance::PixelType::kI8, guidance::PixelType::kU16,
                            guidance::PixelType::kI16, guidance::PixelType::kF32};

struct Dice {
  std::mt19937_64& random;
  double real(double low, double high) { return std::uniform_real_distribution<double>(low, high)(random); }
  std::size_t whole(std::size_t low, std::size_t high) {
    return std::uniform_int_distribution<std::size_t>(low, high)(random);
  }
  bool once_in(std::size_t count) { return whole(1, count) == 1; }
};

std::size_t bytes_of(guidance::PixelType type) {
  if (type == guidance::PixelType::kF32) return 4;
  return type == guidance::PixelType::kU16 || type == guidance::PixelType::kI16 ? 2 : 1;
}

void put(std::uint8_t* to, guidance::PixelType type, double value) {
  const auto whole = [&](auto zero, double low, double high) {
    const auto number = static_cast<decltype(zero)>(std::clamp(std::isfinite(value) ? value : low, low, high));
    std::memcpy(to, &number, sizeof number);
  };
  switch (type) {
    case guidance::PixelType::kU8:
      return whole(std::uint8_t{}, 0.0, 255.0);
    case guidance::PixelType::kI8:
      return whole(std::int8_t{}, -128.0, 127.0);
    case guidance::PixelType::kU16:
      return whole(std::uint16_t{}, 0.0, 65535.0);
    case guidance::PixelType::kI16:
      return whole(std::int16_t{}, -32768.0, 32767.0);
    case guidance::PixelType::kF32:
      break;
  }
  const auto number = static_cast<float>(value);
  std::memcpy(to, &number, sizeof number);
}

// A patient of a few waves, a shaft of steel, and balls of cement that grow.
struct Scene {
  double wave_u, wave_v, level, steel_v, middle_u, middle_v, grows, noise;
  bool logarithm;
  double attenuation(double u, double v, int frame) const {
    double sum = 0.4 * std::sin(wave_u * u) + 0.3 * std::cos(wave_v * v) + (std::abs(v - steel_v) < 3.0 ? 1.1 : 0.0);
    const double square = grows * grows * frame * frame - std::pow(u - middle_u, 2) - std::pow(v - middle_v, 2);
    if (square > 0.0) sum += 0.05 * std::sqrt(square);
    return sum;
  }
};

std::vector<double> capsules_of(Dice& dice, double size) {
  std::vector<double> numbers(5 * dice.whole(0, 3));
  for (std::size_t n = 0; n < numbers.size(); ++n)
    numbers[n] = n % 5 == 4 ? dice.real(0.0, 9.0) : dice.real(-0.5 * size, 1.5 * size);
  if (!numbers.empty() && dice.once_in(4)) numbers[dice.whole(0, numbers.size() - 1)] = dice.once_in(2) ? 1e9 : -1e12;
  return numbers;
}

// Every buffer is one of its own, to the byte.
template <class T>
std::unique_ptr<T[]> filled(std::size_t count, T with) {
  auto memory = std::make_unique<T[]>(count);
  std::fill_n(memory.get(), count, with);
  return memory;
}

void check_stream(Dice& dice, Check check) {
  const std::size_t step = dice.whole(1, 5), rows = 2 * dice.whole(16, 48), columns = 2 * dice.whole(16, 48);
  const std::size_t height = rows * step + dice.whole(0, step), width = columns * step + dice.whole(0, step);
  const std::size_t pixels = height * width, bins = rows * columns;
  const auto type = kTypes[dice.whole(0, kTypes.size() - 1)];
  const double top = type == guidance::PixelType::kU8 || type == guidance::PixelType::kI8 ? 120.0 : 30000.0;
  const double u = static_cast<double>(width), v = static_cast<double>(height);
  const Scene scene{dice.real(0.0, 0.2), dice.real(0.0, 0.2), dice.real(0.3, 1.0) * top,
                    dice.real(0.0, v),   dice.real(0.0, u),   dice.real(0.0, v),
                    dice.real(0.0, 3.0), dice.real(0.0, 0.1), dice.once_in(4) == false};
  cement::Scale scale{step,
                      rows,
                      columns,
                      scene.logarithm,
                      (dice.once_in(2) ? 5.0 : -5.0) / top,
                      0.0,
                      1.0,
                      0U,
                      dice.once_in(3) ? -1e30 : 0.0,
                      dice.once_in(3) ? 1e30 : 2.0 * top,
                      {0, 0, static_cast<int>(width) - 1, static_cast<int>(height) - 1}};
  if (dice.once_in(4)) scale.bits = static_cast<std::uint32_t>(dice.whole(0, 65535));
  std::vector<std::uint8_t> memory(pixels * bytes_of(type));
  const auto draw = [&](int frame, double du, double dv, double exposure) {
    std::normal_distribution<double> noise;
    for (std::size_t r = 0; r < height; ++r)
      for (std::size_t c = 0; c < width; ++c) {
        const double sum = scene.attenuation(static_cast<double>(c) - du, static_cast<double>(r) - dv, frame);
        const double value =
            scene.logarithm ? scene.level * exposure * std::exp(-sum) : 0.2 * top * (1.0 + sum) * exposure;
        put(memory.data() + (r * width + c) * bytes_of(type), type, value * (1.0 + scene.noise * noise(dice.random)));
      }
  };
  const auto spoil = [&] {
    const double worst[] = {std::numeric_limits<double>::quiet_NaN(),
                            std::numeric_limits<double>::infinity(),
                            -1e38,
                            1e38,
                            0.0,
                            top,
                            65535.0};
    const double value = worst[dice.whole(0, std::size(worst) - 1)];
    const std::size_t first = dice.whole(0, pixels - 1), many = dice.whole(1, pixels - first);
    for (std::size_t n = first; n < first + many; ++n)
      put(memory.data() + n * bytes_of(type), type, std::abs(value) > 1e37 ? (value > 0 ? 3e38 : -3e38) : value);
  };
  const guidance::Picture picture{memory.data(), height, width, type};
  const auto reference = filled(bins, 0.0F), variance = filled(bins, 1e-3F), share = filled(bins, 0.0F);
  const auto valid = filled(bins, std::uint8_t{1}), marks = filled(bins, std::uint8_t{0});
  draw(0, 0.0, 0.0, 1.0);
  cement::bin_frame(picture, scale, reference.get(), valid.get());
  const float scatter = static_cast<float>(dice.once_in(2) ? 0.0 : dice.real(0.0, 0.9));
  std::fill_n(share.get(), bins, scatter);
  cement::Tracker tracker({rows, columns, step, dice.real(1.0, 12.0), dice.real(0.0, 0.5)}, reference.get(),
                          valid.get(), variance.get(), share.get());
  const auto mask = filled(pixels, std::uint8_t{0}), blind = filled(pixels, std::uint8_t{1}),
             grown = filled(pixels, std::uint8_t{0}), expected = filled(pixels, std::uint8_t{1});
  const float nothing = std::numeric_limits<float>::quiet_NaN();
  const auto thickness = filled(pixels, 0.0F), arrival = filled(pixels, nothing), speed = filled(pixels, nothing);
  std::array<std::int32_t, 4> box{0, 0, -1, -1};
  const cement::Maps maps{mask.get(),  blind.get(), grown.get(), thickness.get(), arrival.get(),
                          speed.get(), height,      width,       box.data()};
  std::vector<float> table(dice.whole(2, 40));
  for (std::size_t n = 0; n < table.size(); ++n) table[n] = static_cast<float>(n) * 1.5F;
  double time_s = 0.0;
  const double drift = dice.real(0.0, 1.5);
  for (int frame = 0; frame < kFrames; ++frame) {
    const double shift = dice.once_in(12) ? dice.real(-0.6, 0.6) * u : drift * std::sin(0.4 * frame);
    draw(frame, shift, 0.5 * shift, dice.once_in(8) ? dice.real(0.1, 4.0) : 1.0);
    if (dice.once_in(6)) spoil();
    scale.field = {0, 0, static_cast<int>(width) - 1, static_cast<int>(height) - 1};
    if (dice.once_in(6))
      for (std::size_t n = 0; n < 4; ++n)
        scale.field[n] += static_cast<int>(dice.real(n < 2 ? -10.0 : -0.4, n < 2 ? 0.4 : 10.0) * (n % 2 == 0 ? u : v));
    if (dice.once_in(10)) tracker.resume();
    if (dice.once_in(15)) {
      // A block, and at times specks everywhere: then nothing is left to tell the motion from.
      const std::size_t all = dice.once_in(8) ? 9 : 0, u0 = dice.whole(0, columns - 1), v0 = dice.whole(0, rows - 1);
      for (std::size_t n = 0; n < bins; ++n)
        marks[n] = all > 0 ? dice.once_in(all) : n % columns - u0 < columns / 6 && n / columns - v0 < rows / 6;
      tracker.already(marks.get());
    }
    const std::vector<double> instruments = capsules_of(dice, u), cannulas = capsules_of(dice, u);
    if (frame == 0 || dice.once_in(12)) {
      const std::vector<double> steel{-20.0, scene.steel_v, dice.real(0.0, u), scene.steel_v, 3.0};
      tracker.steel({steel.data(), 1}, 2.0F);
      tracker.steel({cannulas.data(), cannulas.size() / 5}, 2.0F);
    }
    const bool told = !dice.once_in(4);
    const cement::Look look{time_s,
                            dice.real(1e-3, 0.05),
                            dice.real(1e-3, 0.5),
                            told ? table.data() : nullptr,
                            told ? table.size() : 0,
                            dice.real(1e-4, 0.02),
                            dice.real(1.0, 12.0),
                            static_cast<int>(dice.whole(0, 12)),
                            {instruments.data(), instruments.size() / 5},
                            {cannulas.data(), cannulas.size() / 5},
                            dice.once_in(2) ? expected.get() : nullptr,
                            width};
    const cement::Answer answer = tracker.follow(picture, scale, look, maps);
    time_s += dice.once_in(20) ? -1.0 : dice.real(0.0, 0.4);
    if (answer.told != cement::Told::kSeen) continue;
    bool sound = true;
    for (std::size_t n = 0; n < pixels; ++n)
      sound = sound && mask[n] <= 1 && blind[n] <= 1 && grown[n] <= mask[n] && thickness[n] >= 0.0F &&
              thickness[n] <= 1.5F * static_cast<float>(table.size()) && (mask[n] == 1 || std::isnan(arrival[n]));
    check(sound, "maps of cement are what they are said to be");
    check(std::isfinite(answer.thickness_sum) && std::isfinite(answer.area_px), "sums of cement are numbers");
    for (const auto& point : tracker.contours().points())
      check(std::isfinite(point[0]) && std::isfinite(point[1]), "outlines of cement are numbers");
  }
}

void check_ranks(Dice& dice, Check check) {
  for (std::size_t count = 1; count < 200; count += dice.whole(1, 9)) {
    std::vector<float> numbers(count);
    for (float& number : numbers)
      number =
          dice.once_in(9) ? 0.0F : static_cast<float>(dice.real(-1.0, 1.0) * std::pow(10.0, dice.real(-30.0, 30.0)));
    if (count > 3) numbers[1] = -std::numeric_limits<float>::infinity(), numbers[2] = std::numeric_limits<float>::max();
    std::vector<float> sorted = numbers;
    std::sort(sorted.begin(), sorted.end());
    const std::size_t rank = dice.whole(0, count - 1);
    check(cement::ranked(numbers, rank) == sorted[rank], "the number of a rank");
  }
}

void check_exponential(Check check) {
  for (double x = -87.0; x <= 88.0; x += 0.0137) {
    const auto at = static_cast<float>(x);
    const double true_value = std::exp(static_cast<double>(at));
    check(std::abs(guidance::exponential(at) / true_value - 1.0) < 2e-7, "the exponential");
  }
  check(guidance::exponential(0.0F) == 1.0F, "the exponential of 0");
}

}  // namespace

void check_cement(std::mt19937_64& random, Check check) {
  Dice dice{random};
  check_exponential(check);
  check_ranks(dice, check);
  for (int n = 0; n < kStreams; ++n) check_stream(dice, check);
}
