// The tracker of one view: keeps what is known of it between frames.
#pragma once

#include <utility>

#include "cement.hpp"
#include "cement_background.hpp"
#include "cement_steel.hpp"

namespace guidance::cement {

// Numbers that stay for a run.
struct Setup {
  std::size_t rows, columns, step;  // working grid, and pixels per bin
  double reference_frames;          // that the reference is the mean of
  double jitter;                    // working pixels: what a slope of the reference may be displaced without being seen
};

// Capsules: u0 v0 u1 v1 radius, frame pixels.
struct Capsules {
  const double* numbers;
  std::size_t count;
};

// With what one frame is looked at.
struct Look {
  double time_s;
  double least_contrast;   // of the primary beam, of the thinnest cement that counts
  double contrast_step;    // of the table of thicknesses
  const float* thickness;  // mm by primary contrast from 0; null: none
  std::size_t thicknesses;
  double slope_sigma;    // how far the exposure's slope may go from frame to frame
  double memory_frames;  // longest averaging of what does not change
  int growth_frames;     // what came within them is new
  Capsules instruments, cannulas;
  const std::uint8_t* expected;  // (rows, columns) of the picture; null: none
  std::size_t expected_columns;  // of the picture, which may be wider than the grid's bins
};

// What is told of a frame, in the frame's own pixels; `box` is what was written of the sparse ones.
struct Maps {
  std::uint8_t *mask, *blind, *grown;
  float *thickness, *arrival, *speed;
  std::size_t rows, columns;
  std::int32_t* box;  // left, top, right, bottom, inclusive; left > right: nothing
};

// Bits of what lies over a place; kOther: an instrument that is not one of the reference's shafts.
enum : std::uint8_t { kInstrument = 1, kCannula = 2, kOther = 4, kUncertain = 8 };

enum class Told { kSeen, kSaturated, kBlack, kCovered, kPictureChanged, kMotionTooLarge };

struct Answer {
  Told told = Told::kSeen;
  Fit fit;
  BinStats bins{};
  double noise = 0.0;          // of a pixel's contrast, filtered; median
  double area_px = 0.0;        // frame pixels
  double thickness_sum = 0.0;  // mm times frame pixels
  double noise_sigma = 0.0;    // of the sum, from noise and exposure
  double speed = -1.0;         // frame pixels per second; negative: not known
  std::size_t pixels = 0;      // of the grid that are cement
  bool out_of_picture = false;
};

// Frames from which noise is learnt, before anything is told; not after a pause.
constexpr int kFirstFrames = 2;

class Tracker {
 public:
  // reference, valid, variance, share (of scatter): (rows, columns) of the grid.
  Tracker(const Setup& setup, const float* reference, const std::uint8_t* valid, const float* variance,
          const float* share);
  Answer follow(const Picture& picture, const Scale& scale, const Look& look, const Maps& maps);
  // After a pause: what is known stays, and the next frames count for more.
  void resume();
  // Cement that is already there: (rows, columns) of the grid, non-zero where it is.
  void already(const std::uint8_t* marks);
  // Straight instruments of the last frame, that the reference may show; whether it shows one. held_mm: of a ray
  // through one, on average; 0: not known.
  bool steel(const Capsules& capsules, float held_mm);
  const Contours& contours() const { return contours_; }
  std::size_t rows() const { return setup_.rows; }
  std::size_t columns() const { return setup_.columns; }
  std::size_t step() const { return setup_.step; }

 private:
  bool look_at(const Look& look, const Picture& picture, const Scale& scale, Answer& answer);
  void mark_capsules(const Capsules& capsules, double margin, std::uint8_t bit);
  std::array<double, 5> on_grid(const double* capsule) const;
  bool on_shaft(const std::array<double, 5>& capsule) const;
  void follow_steel();
  void free_steel();
  void mark_steel(const Shaft& shaft);
  void behind_steel();
  void watch_motion(const Look& look);
  void reach_of_growth(const Look& look);
  void settle(const Look& look);
  void forget(std::size_t at);
  void slopes_of(const float* smoothed);
  void doubt_of(const Shaft& shaft);
  void doubt(const Look& look);
  void contrast(const Answer& answer);
  void find_changes();
  void filter(const Look& look, double dose);
  void learn_displacement(float reference_share);
  void displace(float bins);
  void doubt_dense(double slope);
  bool lies_over(double share) const;
  void follow_field(const Scale& scale);
  void find_candidates(const Look& look);
  void find_coarse(const Look& look);
  void judge_candidates(const Look& look);
  void find_edges();
  void keep_or_drop();
  void lift_reference();
  void find_box();
  void measure(const Look& look, Answer& answer);
  void speeds(const Look& look, Answer& answer);
  // Fills sample_ with what counts of every stride-th bin. Without a branch: noise decides which do.
  template <class Counts, class Value>
  void sample(std::size_t count, std::size_t stride, const Counts& counts, const Value& value) {
    sample_.resize(count / stride + 1);
    std::size_t taken = 0;
    for (std::size_t n = 0; n < count; n += stride) {
      sample_[taken] = value(n);
      taken += counts(n) ? 1U : 0U;
    }
    sample_.resize(taken);
  }
  std::array<std::int32_t, 4> frame_box(const Answer& answer, const Maps& maps) const;
  void write(const Look& look, Answer& answer, const Maps& maps);
  void write_blind(const Answer& answer, const Maps& maps);

  Setup setup_;
  std::size_t offered_ = 0;  // bins of the reference's field
  std::size_t count_, half_rows_, half_columns_;
  Alignment alignment_;
  Background background_;
  Fit fit_;
  Fit steady_;  // of the last frame that agreed with nothing over it
  bool is_steady_ = true;
  int hidden_ = 0;   // frames in a row that are not told for what lies over them
  int covered_ = 0;  // frames since something lay over it for which the exposure is told anew
  int frame_ = 0;
  int unsettled_ = 0;       // frames left after a pause
  float displaced_ = 0.0F;  // bins: what slopes of the reference count as noise for
  double noise_ = 0.1;      // of a pixel's mean, as last told
  double noise_scale_ = 1.0, change_scale_ = 1.0, coarse_scale_ = 1.0, level_ = 0.0, dose_ = 1.0;

  // On the grid.
  Plane base_, variance_, share_, systematic_, doubt_, dense_, scatter_, slopes_;
  Plane live_, now_, mean_, spread_, taken_, fine_, level_map_, z_, scratch_, arrival_, speed_, most_, edges_;
  Marks valid_, live_valid_, now_valid_, cement_, hold_, thinner_, candidate_, foreign_, told_, excluded_, near_,
      blind_, mark_scratch_, unseen_, steel_, before_, recent_, grown_, lost_;
  std::vector<std::int32_t, HugePages<std::int32_t>> arrived_;
  std::vector<std::int32_t> crossed_, nearest_;          // of one row
  std::vector<std::pair<std::uint32_t, float>> raised_;  // contrast that the coarse scale tells
  // On the halved grid.
  Plane half_change_, half_variance_, half_smooth_, half_z_, half_weight_, half_scratch_, half_systematic_, half_fine_;
  Marks half_marks_, half_seen_, half_cement_, half_foreign_, half_mark_scratch_;
  std::vector<Shaft> shafts_;  // of the start
  // Where the patient lay still last, how long since, and whether bones are off since they moved.
  Motion settled_;
  float found_ = 0.0F, last_found_ = 0.0F;
  double quiet_s_ = 0.0, recent_s_ = 0.0, still_from_s_ = 0.0;
  int still_frames_ = 0;
  bool moving_ = false;
  double stretched_ = 0.0;  // slope of the exposure that dense places are in doubt for
  bool doubtful_ = false;   // anything is marked in doubt_ or lost_
  Regions regions_;
  Contours contours_;
  std::vector<float> sample_;
  std::array<int, 4> field_{0, 0, -1, -1};  // of the last frame, frame pixels; none yet: nothing in it
  std::array<int, 4> box_{};                // of cement on the grid
};

}  // namespace guidance::cement
