-- Keep the report of a process, and drop those whose time is over.

local reports = KEYS[1]             -- hash: name of a process → when it reported, when that is dropped, the report
local ends = KEYS[2]                -- zset: name of a process → when its report is dropped
local name = ARGV[1]
local lifetime = tonumber(ARGV[2])  -- milliseconds
local report = ARGV[3]

local MOST = 100  -- dropped at a time, so that nobody waits long for this script

local is_new = redis.call('EXISTS', reports) == 0
redis.call('HSET', reports, name, stamp_of(0) .. stamp_of(lifetime) .. report)
redis.call('ZADD', ends, ms + lifetime, name)
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', ms, 'LIMIT', 0, MOST)) do
    redis.call('HDEL', reports, gone)
    redis.call('ZREM', ends, gone)
end
keep(reports, is_new, lifetime)
keep(ends, is_new, lifetime)
