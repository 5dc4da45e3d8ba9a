// The rods' part of the native check.
#pragma once

#include <random>

void check_rods(std::mt19937_64& random, void (*check)(bool, const char*));
