-- Remove a channel from a group and tell its process.

local readers = KEYS[1]   -- zset, of the group on this server
local members = KEYS[2]   -- zset, of the group in this process
local queue = KEYS[3]     -- list, of the reader
local ticket = KEYS[4]    -- string, of an ordinary channel, with encryption only
local reader = ARGV[1]
local member = ARGV[2]    -- local part, empty for an ordinary channel
local lifetime = ARGV[3]  -- milliseconds the frame lives
local frame = ARGV[4]     -- tells the process; may be empty

if member ~= '' then
    redis.call('ZREM', members, member)
end
if redis.call('ZCARD', members) == 0 then
    redis.call('ZREM', readers, reader)
end
if frame ~= '' then
    keep(queue, redis.call('RPUSH', queue, stamp_of(lifetime) .. frame) == 1, lifetime)
end
if ticket then
    redis.call('DEL', ticket)
end
