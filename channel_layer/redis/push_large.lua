-- Finish a push of large frames: they stand at the end of the queue, where RPUSH put them in the same transaction.
--
-- Returns as push.lua does for one queue. A script that is given a frame of a megabyte spends six times as long with
-- copying it as RPUSH does with storing it, hence all this.

local all_statistics = KEYS[1]  -- hash, of the whole layer
local queue = KEYS[2]           -- list, of a reader, as in push.lua
local statistics = KEYS[3]      -- hash, of that reader
local lifetime = ARGV[1]        -- milliseconds a message lives
local statistics_ms = ARGV[2]   -- lifetime of a reader's statistics, see account
local capacity = ARGV[3]        -- of the queue
local pushed = tonumber(ARGV[4])
local senders_time = ARGV[5]    -- in milliseconds, as the sender believes the server's to be: the stamps go by it

local MOST_WRONG = 1000

local refused = math.min(pushed, make_room(queue, redis.call('LLEN', queue) - capacity))
local take = pushed - refused
if refused > 0 then
    redis.call('RPOP', queue, refused)
end
if take > 0 and math.abs(senders_time - ms) > MOST_WRONG then
    -- The sender's idea of the time is wrong: stamp them anew, at the price of copying.
    local stamp = stamp_of(lifetime)
    local frames = redis.call('RPOP', queue, take)
    for i = take, 1, -1 do
        redis.call('RPUSH', queue, stamp .. string.sub(frames[i], 9))
    end
end
if take > 0 then
    keep(queue, redis.call('PTTL', queue) < 0, lifetime)
end
account(all_statistics, take, refused)
account(statistics, take, refused, statistics_ms)
return refused > 0 and { refused }
