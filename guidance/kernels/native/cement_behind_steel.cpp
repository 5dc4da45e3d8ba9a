// Thickness behind steel that stands where it stood: from beside it.
#include <algorithm>
#include <cmath>

#include "cement_tracker.hpp"

namespace guidance::cement {
namespace {

constexpr float kHides = 0.1F;   // attenuation in the reference: less leaves enough of the primary to tell
constexpr double kBeside = 3.0;  // bins from the shaft's edge that tell
constexpr float kSheath = 0.8F;  // of 1 mm around 3 mm of steel: 2 mm along the middle, 2.7 beside it

}  // namespace

// Behind a cannula next to nothing of the primary arrives: a fall of scatter by a twentieth, as cement around makes it,
// is half of that, and what is left tells no thickness. The shaft is a few millimetres wide, the cement on both sides
// tells it.
void Tracker::behind_steel() {
  for (Shaft& shaft : shafts_) {
    const double u = shaft.ends[2] - shaft.ends[0], v = shaft.ends[3] - shaft.ends[1];
    const double length = std::max(std::hypot(u, v), 1e-9), reach = shaft.half + kBeside;
    // Sums and numbers of bins of both sides; the next frame begins with its own.
    for (auto* numbers : {&shaft.left, &shaft.right, &shaft.over, &shaft.spread})
      std::fill(numbers->begin(), numbers->end(), 0.0F);
    for (const SteelBin& bin : shaft.bins) {
      if (bin.part == Part::kCore || bin.part == Part::kShaft) continue;
      if (!now_valid_[bin.at] || steel_[bin.at]) continue;  // another shaft may cross
      const double du = static_cast<double>(bin.at % setup_.columns) - shaft.ends[0];
      const double dv = static_cast<double>(bin.at / setup_.columns) - shaft.ends[1];
      if (std::abs(dv * u - du * v) > reach * length) continue;
      const bool is_left = bin.part == Part::kLeft;
      (is_left ? shaft.left : shaft.right)[bin.place] += cement_[bin.at] ? now_[bin.at] : 0.0F;
      (is_left ? shaft.over : shaft.spread)[bin.place] += 1.0F;
    }
    for (const SteelBin& bin : shaft.bins) {
      const bool on = bin.part == Part::kCore || bin.part == Part::kShaft;
      if (!on || !cement_[bin.at] || bin.place >= shaft.free || bin.excess < kHides) continue;
      if (!(shaft.excess[bin.place] > 0.0F)) continue;  // before the tip there is none
      const float lefts = shaft.over[bin.place], rights = shaft.spread[bin.place];
      if (!(lefts + rights > 0.0F)) continue;
      const float left = lefts > 0.0F ? shaft.left[bin.place] / lefts : shaft.right[bin.place] / rights;
      const float right = rights > 0.0F ? shaft.right[bin.place] / rights : left;
      const float around = 0.5F * (left + right);
      // The shaft takes the place of cement; but a thin sheath is as thick before and behind it as beside it, nearly.
      // Cement that is seen on the steel alone keeps what is told there.
      if (around > 0.0F) now_[bin.at] = std::max(around - shaft.held_mm, kSheath * around);
    }
  }
}

}  // namespace guidance::cement
