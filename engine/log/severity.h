#pragma once

#include "confparse/severity.h"
