#pragma once

#include "confparse/schema.h"

// The modules of http. Their order, which is the order of phase handlers and filters, is in
// modules/all.cc.
namespace weir::http {

extern const conf::Module kCoreModule;
extern const conf::Module kSslModule;
extern const conf::Module kHttp2Module;
extern const conf::Module kLogModule;
extern const conf::Module kUpstreamModule;
extern const conf::Module kUpstreamStickyModule;
extern const conf::Module kUpstreamQueueModule;
extern const conf::Module kStaticModule;
extern const conf::Module kIndexModule;
extern const conf::Module kTryFilesModule;
extern const conf::Module kAuthRequestModule;
extern const conf::Module kRealIpModule;
extern const conf::Module kLimitReqModule;
extern const conf::Module kLimitConnModule;
extern const conf::Module kAccessModule;
extern const conf::Module kMapModule;
extern const conf::Module kGeoModule;
extern const conf::Module kSplitClientsModule;
extern const conf::Module kRewriteModule;
extern const conf::Module kProxyModule;
extern const conf::Module kGrpcModule;
extern const conf::Module kGrpcWebModule;
extern const conf::Module kGrpcErrorsModule;
extern const conf::Module kNotModifiedModule;
extern const conf::Module kRangeModule;
extern const conf::Module kHeadersModule;
extern const conf::Module kHealthCheckModule;

}  // namespace weir::http
