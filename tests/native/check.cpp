// The kernels without Python, for sanitizers and for processors where no Python is at hand: golden values, edges of
// memory (every buffer is allocated to the byte), numbers that are not numbers. Ends with 1 if anything is wrong.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "check_cement.hpp"
#include "check_rods.hpp"
#include "corridor.hpp"
#include "distance.hpp"
#include "drr.hpp"
#include "kernels.hpp"
#include "silhouette.hpp"
#include "tubes.hpp"

namespace {

using guidance::Crc64Choice;
using Bytes = std::vector<std::uint8_t>;

int failures = 0;

void check(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "wrong: %s\n", what);
  ++failures;
}

std::uint64_t bitwise_crc64(const std::uint8_t* data, std::size_t size, std::uint64_t crc) {
  for (std::size_t i = 0; i < size; ++i)
    for (int bit = 7; bit >= 0; --bit) {
      const bool carry = ((crc >> 63) ^ ((data[i] >> bit) & 1U)) != 0;
      crc = (crc << 1) ^ (carry ? 0x42F0E1EBA9EA3693ULL : 0);
    }
  return crc;
}

void check_crc64(std::mt19937_64& random) {
  const char* digits = "123456789";
  for (const Crc64Choice& choice : guidance::kCrc64Choices) {
    if (!guidance::crc64_available(choice.variant)) continue;
    std::printf("crc64 %.*s\n", static_cast<int>(choice.name.size()), choice.name.data());
    Bytes text(digits, digits + 9);
    check(guidance::crc64_with(choice.variant, text.data(), text.size(), 0) == 0x6C40DF5F0B497347ULL, "check value");
    for (std::size_t size = 0; size < 700; ++size) {
      const std::size_t offset = random() % 64;
      Bytes data(offset + size);
      for (std::uint8_t& byte : data) byte = static_cast<std::uint8_t>(random());
      const std::uint64_t start = random();
      check(guidance::crc64_with(choice.variant, data.data() + offset, size, start) ==
                bitwise_crc64(data.data() + offset, size, start),
            "crc64 of random bytes");
    }
  }
  const Bytes zeros(1000);
  check(guidance::crc64_zeros(5, 1000) == bitwise_crc64(zeros.data(), zeros.size(), 5), "crc64 of zeros");
  check(guidance::crc64(nullptr, 0, 9) == 9, "crc64 of nothing");
}

void check_projection() {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double matrix[12] = {4000, -511.5, 0, 511.5 * 750, 0, -511.5, -4000, 511.5 * 750, 0, -1, 0, 750};
  const double points[12] = {50, 0, 0, 0, 750, 0, nan, 0, 0, 1e308, -1e308, 1e308};
  double uvw[12];
  guidance::project_points(points, 4, matrix, uvw);
  check(std::abs(uvw[0] - 778.1666667) < 1e-6 && uvw[1] == 511.5 && uvw[2] == 750, "projection of a point");
  check(std::isnan(uvw[3]) && std::isnan(uvw[4]) && uvw[5] == 0, "a point at the source");
  check(std::isnan(uvw[6]) && std::isnan(uvw[9]), "points without a place");
}

// A copy that begins at an odd address, allocated to the byte.
template <class T>
Bytes odd(const std::vector<T>& numbers) {
  Bytes bytes(1 + numbers.size() * sizeof(T));
  if (!numbers.empty()) std::memcpy(bytes.data() + 1, numbers.data(), numbers.size() * sizeof(T));
  return bytes;
}

// Tubes along x: in the picture, across the source's plane, behind it; and one down the barrel; at three scales.
void check_tubes(double mm) {
  const std::array<double, 12> matrix{4000, -511.5, 0, 511.5 * 750, 0, -511.5, -4000, 511.5 * 750, 0, -1, 0, 750};
  const std::vector<double> tubes{
      -45 * mm, 0,       0, 1, 0,  0, 0,  0, -1, 0, 1, 0, 3 * mm, 90 * mm,  // in the picture
      5,        760,     0, 0, -1, 0, -1, 0, 0,  0, 0, 1, 3 * mm, 90 * mm,  // its entry behind the source
      0,        800,     0, 1, 0,  0, 0,  0, -1, 0, 1, 0, 3 * mm, 90 * mm,  // behind the source
      0,        20 * mm, 0, 0, -1, 0, -1, 0, 0,  0, 0, 1, 6 * mm, 40 * mm,  // bull's-eye
  };
  const std::vector<double> depths{40 * mm, 80 * mm, 10 * mm, 20 * mm, 40 * mm, 20 * mm};
  const std::vector<std::int64_t> ends{0, 2, 5, 5, 6};
  const Bytes tubes_at = odd(tubes), depths_at = odd(depths), ends_at = odd(ends);
  const Bytes colors{0, 255, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  Bytes strokes(1 + sizeof(float) * guidance::kStrokeNumbers * (4 * guidance::kTubeStrokes + depths.size()));
  Bytes summary(1 + sizeof(guidance::TubeSummary) * 4);
  const std::size_t count =
      guidance::tube_strokes({tubes_at.data() + 1, 4, depths_at.data() + 1, ends_at.data() + 1, colors.data()}, matrix,
                             {2.0, 1.0}, strokes.data() + 1, summary.data() + 1);
  guidance::TubeSummary seen[4];
  std::memcpy(seen, summary.data() + 1, sizeof seen);
  check(seen[0].drawn == 1 && std::abs(seen[0].start_u - (511.5 - 45 * mm * 4000 / 750)) < 1e-6, "a tube's entry");
  check(std::abs(seen[0].half_width_px - 3 * mm * 4000 / 750) < 1e-6, "a tube's width");
  check(seen[2].drawn == 0 && seen[2].strokes == 0, "a tube behind the source");
  check(seen[3].drawn == 1 && seen[3].down_the_barrel == 1, "a tube down the barrel");
  double total = 0;
  for (const guidance::TubeSummary& tube : seen) total += tube.strokes;
  check(static_cast<double>(count) == total, "strokes of all tubes");
  for (std::size_t i = 0; i < count * guidance::kStrokeNumbers; ++i) {
    float number;
    std::memcpy(&number, strokes.data() + 1 + i * sizeof number, sizeof number);
    check(std::isfinite(number), "a stroke's number");
  }
  const Bytes sizes = odd(std::vector<std::int32_t>{20, 60, 0, 0, 2147483647, 5, 20, 2147483647});
  const Bytes boxes = odd(std::vector<std::int32_t>{0, 0, 300, 600, -2147483647 - 1, 0, 2147483647, 9});
  for (const double side : {1024.0, 1.0, 0.0}) {
    Bytes spots(1 + sizeof(std::int32_t) * 12);
    guidance::label_spots({summary.data() + 1, 4, sizes.data() + 1, boxes.data() + 1, 2, side, side, 5.0},
                          spots.data() + 1);
    std::int32_t spot[12];
    std::memcpy(spot, spots.data() + 1, sizeof spot);
    check(spot[0] >= 0 && spot[1] >= 0 && spot[8] == 0, "a label's spot");
  }
}

// A cube's shadow, and what random triangles at the source, across the picture and far off it make of the arithmetic.
void check_silhouettes(std::mt19937_64& random) {
  const guidance::OutlineRequest request{
      {4000, -511.5, 0, 511.5 * 750, 0, -511.5, -4000, 511.5 * 750, 0, -1, 0, 750}, 1.5, 1024, 1024};
  std::vector<float> corners;
  for (const float x : {-20.0F, 25.0F})
    for (const float y : {-30.0F, 10.0F})
      for (const float z : {-5.0F, 35.0F}) corners.insert(corners.end(), {x, y, z});
  const std::vector<std::int32_t> faces{0, 1, 3, 0, 3, 2, 4, 6, 7, 4, 7, 5, 0, 4, 5, 0, 5, 1,
                                        2, 3, 7, 2, 7, 6, 0, 2, 6, 0, 6, 4, 1, 5, 7, 1, 7, 3};
  const Bytes corners_at = odd(corners), faces_at = odd(faces);
  const guidance::ShadowMesh cube(corners_at.data() + 1, 8, faces_at.data() + 1, 12);
  check(cube.edges.size() == 18, "a cube's edges");
  const Bytes colors{1, 2, 3, 4, 5, 6};
  Bytes summary(1 + 2 * sizeof(guidance::OutlineSummary));
  std::vector<float> strokes = guidance::silhouette_strokes({&cube, &cube}, colors.data(), request, summary.data() + 1);
  guidance::OutlineSummary seen[2];
  std::memcpy(seen, summary.data() + 1, sizeof seen);
  check(seen[0].state == 1 && seen[1].state == 1 && seen[1].first == seen[0].count, "outlines of two cubes");
  check(std::abs(seen[0].right - (511.5 + 25.0 * 4000.0 / 740.0)) < 1e-3, "a cube's right corner");
  check(strokes.size() == guidance::kStrokeNumbers * static_cast<std::size_t>(2 * seen[0].count), "strokes of cubes");

  const float sizes[] = {1e-6F, 1.0F, 60.0F, 800.0F, 1e6F, 1e30F};
  for (int round = 0; round < 200; ++round) {
    // Some with so many edges that those inside are left out first.
    const bool many = round % 100 == 50;
    const std::size_t vertex_count = many ? 1200 : 1 + random() % 60, triangle_count = many ? 500 : random() % 90;
    std::vector<float> vertices(3 * vertex_count);
    const float size = many ? 60.0F : sizes[random() % 6];
    for (float& number : vertices)
      number = size * (static_cast<float>(random() % 2001) / 1000.0F - 1.0F) * (random() % 7 ? 1.0F : 0.0F);
    std::vector<std::int32_t> triangles(3 * triangle_count);
    for (std::int32_t& vertex : triangles) vertex = static_cast<std::int32_t>(random() % vertex_count);
    const guidance::ShadowMesh mesh(vertices.data(), vertex_count, triangles.data(), triangle_count);
    strokes = guidance::silhouette_strokes({&mesh}, colors.data(), request, summary.data() + 1);
    std::memcpy(seen, summary.data() + 1, sizeof seen[0]);
    check(strokes.size() == guidance::kStrokeNumbers * static_cast<std::size_t>(seen[0].count), "strokes of triangles");
    for (const float number : strokes) check(std::isfinite(number), "an outline's number");
    for (std::size_t i = 0; i < strokes.size(); i += guidance::kStrokeNumbers)
      for (std::size_t end = 0; end < 4; ++end)
        check(strokes[i + end] > -8.0F && strokes[i + end] < 1032.0F, "an outline on the picture");
  }
  const guidance::ShadowMesh nothing(nullptr, 0, nullptr, 0);
  check(guidance::silhouette_strokes({&nothing}, colors.data(), request, summary.data() + 1).empty(), "no surface");
}

// One picture at an odd address, of any type, size and content.
void check_frame(std::mt19937_64& random, guidance::PixelType type, std::size_t pixel_bytes, std::size_t rows,
                 std::size_t columns) {
  Bytes message(1 + rows * columns * pixel_bytes);
  for (std::uint8_t& byte : message) byte = static_cast<std::uint8_t>(random());
  const guidance::Picture picture{message.data() + 1, rows, columns, type};
  const guidance::Window window = guidance::window_levels(picture);
  check(window.low < window.high && std::isfinite(window.low) && std::isfinite(window.high), "window levels");
  for (std::size_t step = 1; step <= 4; ++step) {
    Bytes grey(rows / step * (columns / step));
    guidance::grey8(picture, window, step, grey.data());
  }

  Bytes rgb(3 * rows * columns);
  Bytes rgba(4 * rows * columns);
  guidance::Layer layer{rgba.data(), nullptr, rows, columns};
  Bytes dirty(layer.tile_rows() * layer.tile_columns());
  layer.dirty = dirty.data();
  const float values[] = {0,
                          1.5F,
                          -3,
                          40,
                          1e9F,
                          -1e30F,
                          3e38F,
                          0.01F,
                          255,
                          1e-30F,
                          12.25F,
                          std::numeric_limits<float>::quiet_NaN(),
                          std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()};
  const std::int32_t whole[] = {0, 1, 3, -2, 50, 2147483647, -2147483647 - 1};
  for (int round = 0; round < 20; ++round) {
    std::vector<float> strokes(guidance::kStrokeNumbers * 6);
    for (float& number : strokes) number = values[random() % (round % 2 ? 14 : 11)];
    Bytes sprites(64);
    std::vector<std::int32_t> table(guidance::kSpriteNumbers * 4);
    for (std::int32_t& number : table) number = whole[random() % 7];
    guidance::Scene scene{strokes.data(), 6, sprites.data(), sprites.size(), table.data(), 4, random() % 9};
    if (!guidance::sprites_fit(scene)) scene.sprite_count = 0;
    const guidance::FrameCrcs crcs = guidance::compose_frame(picture, window, scene, layer, rgb.data());
    check(crcs.rgb == bitwise_crc64(rgb.data(), rgb.size(), 0), "crc64 of the picture");
    check(crcs.layer == bitwise_crc64(rgba.data(), rgba.size(), 0), "crc64 of the layer");
  }
  const guidance::Scene nothing{nullptr, 0, nullptr, 0, nullptr, 0};
  guidance::compose_frame(picture, window, nothing, layer, rgb.data());
  for (const std::uint8_t byte : rgba) check(byte == 0, "an empty layer");
}

void check_drr(guidance::DrrMethod method, guidance::DrrIsa isa) {
  constexpr std::size_t kSize = 20;
  const std::vector<std::int16_t> water(kSize * kSize * kSize, 1000);
  const guidance::ConeVolume<std::int16_t> volume(water.data(), {kSize, kSize, kSize}, 0);
  const double c = (kSize - 1) / 2.0;
  // The source 100 voxels above the middle of the cube along k, the detector below; 1 mm voxels.
  const double pixel_from_ijk[12] = {
      100, 0, -3.5, 3.5 * (100 + c) - 100 * c, 0, 100, -3.5, 3.5 * (100 + c) - 100 * c, 0, 0, -1, 100 + c};
  const float knots[1] = {0};
  const float coefficients[1] = {0.001F};
  std::vector<float> out(64);
  guidance::ConeVolume<std::int16_t>::Request request{};
  std::memcpy(request.pixel_from_ijk.data(), pixel_from_ijk, sizeof pixel_from_ijk);
  request.mm_from_ijk = {1, 0, 0, 0, 1, 0, 0, 0, 1};
  request.knots = knots;
  request.knot_count = 1;
  request.coefficients = coefficients;
  request.channels = 1;
  request.rows = request.columns = 8;
  request.step_px = 1;
  request.threads = 2;
  request.method = method;
  request.isa = isa;
  request.out = out.data();
  volume.project(request);
  for (const float integral : out) check(std::abs(integral - static_cast<float>(kSize)) < 1.1F, "a ray through a cube");
}

// Cameras of every kind round a volume of odd sizes: whatever reads or writes beside an array is found by the
// sanitizer.
template <class T>
void check_shear_warp(std::mt19937_64& random) {
  std::uniform_real_distribution<double> part(-1.0, 1.0);
  std::uniform_int_distribution<std::size_t> edge(1, 40), side(0, 70);
  for (int trial = 0; trial < 60; ++trial) {
    const std::array<std::size_t, 3> shape{edge(random), edge(random), edge(random)};
    std::vector<T> voxels(shape[0] * shape[1] * shape[2]);
    for (T& voxel : voxels) voxel = static_cast<T>(1000.0 + 1000.0 * part(random));
    const guidance::ConeVolume<T> volume(voxels.data(), shape, 0);
    const float knots[2] = {trial % 3 == 0 ? 1500.0F : 0.0F, 1600.0F};
    const float coefficients[4] = {1.0F, -0.5F, 0.25F, 0.5F};
    guidance::ConeRequest request{};
    for (double& number : request.pixel_from_ijk) number = part(random);
    // The volume's middle to the picture's, the source off or within the volume.
    for (int row = 0; row < 2; ++row) request.pixel_from_ijk[4 * row + 3] = 30.0 * part(random);
    request.pixel_from_ijk[11] = 40.0 * part(random);
    if (trial % 2 == 0) {  // far off along an axis: the factorisation holds
      request.pixel_from_ijk = {90, 5, 10, -700, 3, -80, 12, 900, 0.02, 0.03, 1, 60};
      std::swap(request.pixel_from_ijk[8 + trial % 3], request.pixel_from_ijk[10]);
    }
    request.mm_from_ijk = {1, 0.1, 0, 0, 1.5, 0, 0, 0, 0.7};
    request.knots = knots;
    request.knot_count = 1 + trial % 2;
    request.coefficients = coefficients;
    request.channels = request.knot_count;
    request.rows = side(random);
    request.columns = side(random);
    request.origin_u = 20.0 * part(random);
    request.origin_v = 20.0 * part(random);
    request.step_px = 1.0 + 0.5 * part(random);
    request.threads = 1 + trial % 3;
    std::vector<float> out(request.channels * request.rows * request.columns, NAN);
    request.out = out.data();
    for (const auto isa : {guidance::DrrIsa::kPortable, guidance::DrrIsa::kAvx2, guidance::DrrIsa::kBest}) {
      request.isa = isa;
      request.method = guidance::DrrMethod::kShearWarp;
      if (!volume.choose(request).shear_warp) request.method = guidance::DrrMethod::kRays;
      volume.project(request);
      for (const float integral : out) check(std::isfinite(integral), "a picture of numbers");
    }
  }
}

void check_box_average() {
  const std::vector<std::int16_t> voxels{1, 2, 3, 4, 5, 6, 7, 8, 9};  // 1 x 3 x 3
  std::vector<std::int16_t> out(4);
  guidance::box_average<std::int16_t>(voxels.data(), {1, 3, 3}, {1, 2, 2}, -3, out.data());
  const std::vector<std::int16_t> expected{3, 1, 2, 0};  // 12, 9 - 6, 15 - 6 and 9 - 9 over 4
  check(out == expected, "means of boxes");
}

// A block of voxels, its distances on a small grid and on one that goes by lines, its surface simplified.
void check_distance() {
  const std::vector<std::uint8_t> values(4 * 5 * 6, 255);
  const guidance::Affine identity{1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0};
  const guidance::Voxels voxels{values.data(), {4, 5, 6}};
  const guidance::TriangleMesh mesh = guidance::isosurface(voxels, identity, 127.5);
  check(!mesh.triangles.empty(), "surface of a block");
  const guidance::SurfaceTree tree(mesh.points.data()->data(), mesh.points.size(), mesh.triangles.data()->data(),
                                   mesh.triangles.size());
  const guidance::MaskSign sign{voxels, identity, 127.5, 0.5};
  for (const std::size_t edge : {std::size_t{20}, std::size_t{120}}) {
    const guidance::FieldGrid grid{{-7.0, -7.0, -7.0}, 1.0, {edge, edge, edge}};
    std::vector<float> distances(edge * edge * edge);
    guidance::distance_grid(tree, sign, grid, 2, distances.data());
    check(std::abs(distances[(9 * edge + 9) * edge + 19] - 6.5F) < 1e-3F, "distance beside a block");
    check(std::abs(distances[(9 * edge + 9) * edge + 9] + 1.5F) < 0.5F, "depth in a block");
    const guidance::FieldValues field{distances.data(), grid};
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const double points[12] = {12, 2, 2, 500, 2, 2, nan, 0, 0, -7, -7, -7};
    double out[4];
    guidance::sample_grids(field, field, tree, points, 4, out);
    check(std::abs(out[0] - 6.5) < 1e-3 && std::abs(out[1] - 494.5) < 1e-2 && out[2] != out[2], "sampled distances");
  }
  const guidance::TriangleMesh fewer = guidance::simplified(mesh, {0, 0.1, 3, 0.2});
  check(!fewer.triangles.empty() && fewer.triangles.size() < mesh.triangles.size(), "simplified block");
}

// A bar of 20 x 10 x 10 mm along x in a grid that ends close to it; lines within, beside and far beyond it.
void check_corridor() {
  const std::size_t edge = 28;
  std::vector<float> solid(edge * edge * edge), right(solid.size()), gate(solid.size(), -1.0F);
  for (std::size_t n = 0; n < solid.size(); ++n) {
    const auto x = static_cast<float>(n % edge), y = static_cast<float>(n / edge % edge),
               z = static_cast<float>(n / edge / edge);
    solid[n] = std::max({std::abs(x - 13.5F) - 10.0F, std::abs(y - 13.5F) - 5.0F, std::abs(z - 13.5F) - 5.0F});
    right[n] = 20.0F - x;
  }
  const guidance::LineFields fields{
      {edge, edge, edge, {0, 0, 0}, 1.0}, solid.data(), right.data(), nullptr, gate.data()};
  const guidance::LineRules rules{2.0, 1.5, 10.0, 0.0, 0.0, 0.25, 0.25, false};
  const std::vector<double> chart{13.5, 13.5, 13.5, 1, 0, 0, 0, 1, 0, 0, 0, 1};
  const std::vector<double> lines{0, 0, 0,    0, 0, 0,   0, 0, 0, 0, 0, 0, 0, 2, 0,   0, .5, .5, .02, .02,
                                  0, 0, 1e12, 0, 0, 0,   3, 3, 1, 1, 0, 0, 0, 0, 1e9, 0, 2,  2,  1,   1,
                                  0, 0, 9,    9, 1, 0.5, 9, 9, 1, 1, 0, 5, 0, 0, 0,   0, 50, 50, 9,   9};
  const std::size_t count = lines.size() / guidance::kLineNumbers;
  std::vector<double> tunnels(count * guidance::kTunnelNumbers), bounds(count);
  const guidance::LineBatch batch{chart.data(), 1, lines.data(), count, 2};
  guidance::measure_lines(fields, rules, batch, tunnels.data());
  guidance::bound_lines(fields, rules, batch, 0.5, bounds.data());
  check(std::abs(tunnels[0] - 4.5) < 1e-3 && std::abs(tunnels[1] + 10.0) < 1e-3 && std::abs(tunnels[2] - 10.0) < 1e-3,
        "tunnel of a bar, its ridge rounded between samples");
  check(std::abs(tunnels[4] - 3.0) < 1e-3 && tunnels[8] == -1.0, "tunnels beside the axis and beside the bar");
  for (std::size_t n = 0; n < count; ++n)
    check(tunnels[n * guidance::kTunnelNumbers] <= std::max(bounds[n], 0.5) + 1e-6, "a bound of lines holds");
  check(bounds[2] == -1.0, "no line far beyond the grid");
}

}  // namespace

int main() {
  std::printf("%s\n", guidance::instruction_set());
  std::mt19937_64 random(7);
  check_crc64(random);
  check_corridor();
  check_distance();
  check_projection();
  check_rods(random, check);
  check_cement(random, check);
  for (const double mm : {1e-6, 1.0, 20.0}) check_tubes(mm);
  check_silhouettes(random);
  for (const auto& [rows, columns] :
       {std::pair<std::size_t, std::size_t>{0, 0}, {1, 1}, {5, 3}, {16, 32}, {17, 33}, {3, 2300}, {70, 45}}) {
    check_frame(random, guidance::PixelType::kU8, 1, rows, columns);
    check_frame(random, guidance::PixelType::kI8, 1, rows, columns);
    check_frame(random, guidance::PixelType::kU16, 2, rows, columns);
    check_frame(random, guidance::PixelType::kI16, 2, rows, columns);
    check_frame(random, guidance::PixelType::kF32, 4, rows, columns);
  }
  for (const auto method : {guidance::DrrMethod::kRays, guidance::DrrMethod::kShearWarp})
    for (const auto isa : {guidance::DrrIsa::kPortable, guidance::DrrIsa::kAvx2, guidance::DrrIsa::kBest})
      check_drr(method, isa);
  check_shear_warp<std::int16_t>(random);
  check_shear_warp<float>(random);
  check_box_average();
  std::printf(failures ? "%d wrong\n" : "all right\n", failures);
  return failures ? 1 : 0;
}
