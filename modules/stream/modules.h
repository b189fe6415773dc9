#pragma once

#include "confparse/schema.h"

// The modules of stream. Their order, which is the order of phase handlers, is in modules/all.cc.
namespace weir::stream {

extern const conf::Module kCoreModule;
extern const conf::Module kLogModule;
extern const conf::Module kProxyModule;
extern const conf::Module kUpstreamModule;
extern const conf::Module kAccessModule;
extern const conf::Module kGeoModule;
extern const conf::Module kLimitConnModule;
extern const conf::Module kMapModule;
extern const conf::Module kPassModule;
extern const conf::Module kReturnModule;
extern const conf::Module kSetModule;
extern const conf::Module kSslModule;
extern const conf::Module kSslPrereadModule;
extern const conf::Module kRealIpModule;
extern const conf::Module kSplitClientsModule;
extern const conf::Module kHealthCheckModule;

}  // namespace weir::stream
