// Straight steel of the start: what the reference would be without it, and how far it has been pulled back.
#pragma once

#include "cement.hpp"

namespace guidance::cement {

enum class Part : std::uint8_t { kCore, kShaft, kLeft, kRight };

// A bin on or beside a shaft.
struct SteelBin {
  std::uint32_t at;     // of the grid
  std::uint16_t place;  // bins along the shaft, from outside to the tip
  Part part;
  float excess;  // attenuation of the steel in the reference; beside it 0
  float slope;   // square of the reference's slope without it
};

// One shaft, and by place along it what a frame shows.
struct Shaft {
  std::vector<SteelBin> bins;
  std::vector<float> excess, doubt;              // of the core, attenuation; variance of the reference without it
  std::vector<float> over, left, right, spread;  // of a frame against what the reference would be without it
  std::vector<float> weight, smoothed;
  std::array<double, 4> ends{};  // u0 v0 u1 v1 of its middle, grid, from outside to the tip
  double half = 0.0;             // of its width, blurred edge and all
  float held_mm = 0.0F;          // along a ray through it: no cement of the patient; 0: not known
  std::size_t run = 4;           // places: less is no withdrawal
  std::size_t free = 0;          // first place from which the steel has gone; places(): none
  std::size_t filled = 0;        // first place from which there is cement on to the tip, or seems to be
  std::size_t wanted = 0;        // what the last frame told of that
  std::size_t places() const { return excess.size(); }
};

// The shaft that a line leads to, as far as the reference shows one; false where it shows none.
bool find_shaft(const float* reference, const std::uint8_t* valid, std::size_t rows, std::size_t columns,
                const std::array<double, 5>& capsule, Shaft& shaft);

// From `over` and the others: the first place from which the steel has gone; places(): from nowhere.
std::size_t gone_from(Shaft& shaft);

// Whether steel is there by what is seen: as much as it had.
bool stands(const Shaft& shaft, std::size_t place);

// From `cement`, of each place the share that is: the first place from which there is cement on to the tip, for what
// lies between cement and cement on the way of a shaft is that as well; places(): none.
std::size_t filled_from(const Shaft& shaft, const std::vector<float>& cement);

// Whether most of where it had gone from looks like steel again.
bool is_back(const Shaft& shaft);

}  // namespace guidance::cement
