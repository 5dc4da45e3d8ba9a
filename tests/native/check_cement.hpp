// The cement tracker's part of the native check.
#pragma once

#include <random>

void check_cement(std::mt19937_64& random, void (*check)(bool, const char*));
