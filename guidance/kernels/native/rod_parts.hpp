// What the rooms of the rods share; nobody else needs it.
#pragma once

#include <vector>

#include "rod.hpp"

namespace guidance {

constexpr std::size_t kProfileColumns = 49;  // across, from -1.5 to 1.5 widths
constexpr std::size_t kProfileShifts = 21;   // from -0.5 to 0.5 widths
constexpr std::size_t kPerWidth = 16;        // columns
constexpr std::size_t kMiddle = kProfileColumns / 2;

using Profile = std::array<double, kProfileColumns>;

// The picture along a curve: rows along it, profiles across.
struct Straightened {
  std::vector<float> values;  // (rows, kProfileColumns)
  std::vector<double> x;
  double pitch, width;  // px
  std::vector<std::uint8_t> inside, known, clean;

  double blur() const;
};

struct Blocks {
  std::vector<double> x;
  std::vector<Profile> profiles;
};

// A stretch of rows, both ends in it, and its usual contrast.
struct Run {
  std::size_t begin, end;
  double usual;
};

struct Tip {
  double x, sigma;
  TipState state;
};

struct Fit {
  RodCurve curve;
  double sigma;
};

bool covers(const MetalCells& metal, const std::array<double, 2>& uv);

// The upper median; the values are put into another order.
double middle_of(std::vector<double>& values);
// Standard deviation from the median deviation.
double spread_of(const std::vector<double>& misses);
RodCurve robust_fit(const std::vector<double>& x, const std::vector<double>& y, const std::vector<double>& weight,
                    std::size_t degree, double least, std::vector<double>* misses);
// The line, unless a low curve fits clearly better.
Fit line_or_curve(const std::vector<double>& x, const std::vector<double>& y, const std::vector<double>& weight,
                  double width);

// `saturated`: sampled values up to it say nothing; minus infinity where there are none.
Straightened straighten(const RodRequest& request, float saturated, const RodCurve& curve, double first, double last,
                        bool coarse);
std::vector<double> contrast_of(const Straightened& flat, bool narrow);
Blocks blocks_of(const Straightened& flat, std::size_t begin, std::size_t end);
// How far each profile's rod lies aside, in widths, and how much it looks like one.
void middles_of(const std::vector<Profile>& profiles, double blur, std::vector<double>* shifts,
                std::vector<double>* likenesses);
std::vector<double> likeness_of(const std::vector<Profile>& profiles, double blur);
// In expected widths; NaN where it has no two sides.
double width_of(const Profile& profile);

// False where there is none.
bool longest_run(const std::vector<double>& contrast, const Straightened& flat, Run* run);
Tip tip_of(const Straightened& flat, const std::vector<double>& contrast, const Run& run, double end_on, bool solid);

}  // namespace guidance
