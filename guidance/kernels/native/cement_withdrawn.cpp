// A cannula that is pulled back: where its steel has gone, the reference becomes what it would be without it.
#include <algorithm>
#include <cmath>
#include <utility>

#include "cement_tracker.hpp"

namespace guidance::cement {
namespace {

constexpr double kParallel = 0.07;   // radians between a shaft and a capsule on it
constexpr float kBetween = 0.2F;     // of that variance between cement and cement
constexpr float kBlindLevel = 4.0F;  // times the thinnest cement that counts: told only from there on is not seen

GUIDANCE_CLONES void mark_uncertain(const float* __restrict doubt, const float* __restrict level,
                                    const float* __restrict share, const std::uint8_t* __restrict cement,
                                    const std::uint8_t* __restrict lost, std::size_t count, float most,
                                    std::uint8_t* __restrict told) {
  for (std::size_t n = 0; n < count; ++n) {
    const bool dim = doubt[n] > 0.0F && level[n] > most * (1.0F - share[n]);
    told[n] |= static_cast<std::uint8_t>(cement[n] == 0 && (lost[n] != 0 || dim) ? kUncertain : 0);
  }
}

}  // namespace

bool Tracker::steel(const Capsules& capsules, float held_mm) {
  bool found = false;
  for (std::size_t n = 0; n < capsules.count; ++n) {
    Shaft shaft;
    if (!find_shaft(base_.data(), valid_.data(), setup_.rows, setup_.columns, on_grid(capsules.numbers + 5 * n), shaft))
      continue;
    shaft.held_mm = held_mm;
    mark_steel(shaft);
    shafts_.push_back(std::move(shaft));
    found = true;
  }
  return found;
}

void Tracker::mark_steel(const Shaft& shaft) {
  for (const SteelBin& bin : shaft.bins)
    if (bin.part == Part::kCore || bin.part == Part::kShaft) steel_[bin.at] = 1;
}

// Whether a capsule, on the grid, lies on a shaft of the start.
bool Tracker::on_shaft(const std::array<double, 5>& capsule) const {
  const double along_u = capsule[2] - capsule[0], along_v = capsule[3] - capsule[1];
  const double length = std::max(std::hypot(along_u, along_v), 1e-9);
  for (const Shaft& shaft : shafts_) {
    const double u = shaft.ends[2] - shaft.ends[0], v = shaft.ends[3] - shaft.ends[1];
    if (std::abs(along_v * u - along_u * v) > kParallel * length * std::hypot(u, v)) continue;
    const double off_u = shaft.ends[0] + 0.5 * u - capsule[0], off_v = shaft.ends[1] + 0.5 * v - capsule[1];
    if (std::abs(off_u * along_v - off_v * along_u) < 2.0 * shaft.half * length) return true;
  }
  return false;
}

void Tracker::follow_steel() {
  bool changed = false;
  for (Shaft& shaft : shafts_) {
    const std::size_t places = shaft.places();
    for (auto* numbers : {&shaft.over, &shaft.left, &shaft.right, &shaft.spread, &shaft.weight})
      std::fill(numbers->begin(), numbers->end(), 0.0F);
    // Sides are few bins each: their sums will do where both have as many.
    for (const SteelBin& bin : shaft.bins) {
      if (!now_valid_[bin.at] || foreign_[bin.at]) continue;
      if (bin.part == Part::kCore) {
        const float rest = bin.place < shaft.free ? bin.excess : 0.0F;
        shaft.over[bin.place] += fine_[bin.at] + rest;
        shaft.spread[bin.place] += spread_[bin.at];
        shaft.weight[bin.place] += 1.0F;
      } else if (bin.part == Part::kLeft) {
        shaft.left[bin.place] += fine_[bin.at];
      } else if (bin.part == Part::kRight) {
        shaft.right[bin.place] += fine_[bin.at];
      }
    }
    const auto side = static_cast<float>(1.0 / std::max(shaft.half, 3.0));
    for (std::size_t n = 0; n < places; ++n) {
      const float count = shaft.weight[n];
      shaft.left[n] *= side;
      shaft.right[n] *= side;
      if (!(count > 0.0F)) continue;
      shaft.over[n] /= count;
      shaft.spread[n] /= count * count;
    }
    const std::size_t gone = gone_from(shaft);
    const std::size_t before = std::exchange(shaft.wanted, gone);
    const std::size_t free = unsettled_ > 0 ? gone : std::max(gone, before);  // twice in a row
    if (free >= shaft.free) continue;
    for (const SteelBin& bin : shaft.bins) {
      if (bin.place < free || bin.place >= shaft.free || bin.part == Part::kLeft || bin.part == Part::kRight) continue;
      base_[bin.at] -= bin.excess;
      mean_[bin.at] += bin.excess;
      fine_[bin.at] += bin.excess;
      slopes_[bin.at] = bin.slope;
      taken_[bin.at] = 0.0F;  // the next frame counts alone: what was seen while the steel went is neither
      thinner_[bin.at] = 0;
      unseen_[bin.at] = 1;
    }
    shaft.free = free;
    doubt_of(shaft);
    changed = true;
  }
  if (changed) displace(displaced_);
}

void Tracker::doubt_of(const Shaft& shaft) {
  doubtful_ = true;
  for (const SteelBin& bin : shaft.bins)
    if (bin.place >= shaft.free && (bin.part == Part::kCore || bin.part == Part::kShaft))
      doubt_[bin.at] = shaft.doubt[bin.place] * (bin.place < shaft.filled ? 1.0F : kBetween);
}

// What is told of instruments comes second to what is seen of the steel.
void Tracker::free_steel() {
  for (const Shaft& shaft : shafts_) {
    const bool back = is_back(shaft);
    for (const SteelBin& bin : shaft.bins) {
      if (!(shaft.weight[bin.place] > 0.0F)) continue;
      const bool gone = bin.place >= shaft.free;
      if (gone ? !back : stands(shaft, bin.place))
        told_[bin.at] = static_cast<std::uint8_t>(told_[bin.at] & ~(gone ? kInstrument | kCannula : kInstrument));
      if (gone && taken_[bin.at] == 0.0F) told_[bin.at] |= kUncertain;
    }
  }
}

// What lies between cement and cement is less in doubt. And where what lay under the steel is not known well enough to
// see thin cement, none seen is not none there.
void Tracker::doubt(const Look& look) {
  bool changed = false;
  for (Shaft& shaft : shafts_) {
    if (shaft.free == shaft.places()) continue;
    std::fill(shaft.left.begin(), shaft.left.end(), 0.0F);
    for (const SteelBin& bin : shaft.bins)
      if (bin.part == Part::kCore && cement_[bin.at] && shaft.weight[bin.place] > 0.0F)
        shaft.left[bin.place] += 1.0F / shaft.weight[bin.place];
    const std::size_t filled = filled_from(shaft, shaft.left);
    if (filled != std::exchange(shaft.filled, filled)) {
      doubt_of(shaft);
      changed = true;
    }
  }
  if (changed) displace(displaced_);
  if (!doubtful_ && stretched_ == 0.0) return;
  const float most = kBlindLevel * static_cast<float>(look.least_contrast);
  for (std::size_t at = 0; at < count_; at += setup_.columns)
    mark_uncertain(doubt_.data() + at, level_map_.data() + at, share_.data() + at, cement_.data() + at,
                   lost_.data() + at, setup_.columns, most, told_.data() + at);
  for (std::size_t at = 0; stretched_ > 0.0 && at < count_; at += setup_.columns)
    mark_uncertain(dense_.data() + at, level_map_.data() + at, share_.data() + at, cement_.data() + at,
                   lost_.data() + at, setup_.columns, most, told_.data() + at);
}

}  // namespace guidance::cement
